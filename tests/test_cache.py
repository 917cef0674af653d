"""The cache: the same configuration is never trained twice, and a changed one always is."""

import socket
import subprocess
import sys
from dataclasses import fields, replace

import pytest
from conftest import small_config
from sklearn.datasets import load_iris

from mlp_bench.evaluation import key as key_of
from mlp_bench import evaluation, manager, tracking
from mlp_bench.data import load
from mlp_bench.config import TASKS, Config
from mlp_bench.tracking import purge, runs
from mlp_bench.manager import run

SMALL = Config(plan="cv:2", epochs=1, hidden_layer_sizes=(4,))
CHANGED = dict(
    recipe="seed",
    backend="logistic",
    plan="cv:3",
    hidden_layer_sizes=(3,),
    activation="tanh",
    dropout=0.1,
    optimizer="sgd",
    learning_rate=0.01,
    weight_decay=0.1,
    l2=0.1,
    label_smoothing=0.1,
    average_last=0.5,
    initializer="he_normal",
    batch_size=12,
    epochs=2,
    early_stopping=True,
    validation_fraction=0.2,
    patience=3,
    class_weight="balanced",
    ensemble=2,
    dtype="float64",
    rng="keras",
    seed=1,
    positive="0",
    bagging=True,
)
EVERY_TASK = pytest.mark.parametrize("task", TASKS)
UNREAD = dict.fromkeys(["patience", "validation_fraction"], dict(early_stopping=True))  # unless it is set
UNREAD["bagging"] = dict(ensemble=2)


@pytest.fixture
def trainings(monkeypatch):
    "How often a configuration was really measured"
    calls, evaluate = [], evaluation.evaluate
    monkeypatch.setattr(manager, "evaluate", lambda *a: calls.append(a[0]) or evaluate(*a))
    return calls


def test_every_field_has_a_changed_value():
    how_to_read = {"task", "encoding", "header", "drop_unlabelled"}  # the key has the content of the table
    assert set(CHANGED) == {f.name for f in fields(Config)} - {"data", "target"} - how_to_read


def test_sizes_left_to_the_task_are_recorded_and_are_those_sizes(store, trainings):
    frame = load_iris(as_frame=True).frame
    left = replace(SMALL, target="target", hidden_layer_sizes="auto")
    first = run(left, dataset=frame)
    assert {r.config.hidden_layer_sizes for r in (first, tracking.get_run(first.run_id))} == {(100,)}
    assert run(replace(left, hidden_layer_sizes=100), dataset=frame).cached and len(trainings) == 1
    assert not run(replace(left, hidden_layer_sizes=(32, 16)), dataset=frame).cached
    assert manager.load_model(first.run_id).predict(frame.head(3)).shape == (3, 4)


@EVERY_TASK
def test_the_same_configuration_is_trained_once(task, store, trainings):
    small = small_config(task)
    first, again = run(small), run(small)
    assert (first.task, again.task) == (task, task)
    assert len(trainings) == 1 and again.cached and not first.cached
    assert again.metrics == first.metrics and again.oof.equals(first.oof) and again.folds.equals(first.folds)


@pytest.mark.parametrize(
    "names",
    [["batch_size", "positive", "rng"], pytest.param(list(CHANGED), marks=pytest.mark.slow)],
    ids=["three fields", "every field"],
)
def test_changing_any_field_trains_anew(names, store, trainings, no_pictures):
    run(SMALL)
    for name in names:
        if name not in UNREAD:
            assert not run(replace(SMALL, **{name: CHANGED[name]})).cached, name
    assert len(trainings) == 1 + len(set(names) - set(UNREAD))


def test_changing_any_field_changes_the_key():
    for name, value in CHANGED.items():
        base = replace(SMALL, **UNREAD.get(name, {}))
        changed = replace(base, **{name: value})
        assert key_of(changed, load("heart", positive=changed.positive)) != key_of(base, load("heart")), name


@pytest.mark.parametrize("backend", ["numpy", pytest.param("keras", marks=pytest.mark.slow)])
def test_a_setting_that_nothing_reads_changes_neither_numbers_nor_key(backend):
    heart, base = load("heart"), replace(SMALL, backend=backend, dropout=0.0)
    for change in (dict(patience=3), dict(validation_fraction=0.2), dict(rng="keras"), dict(l2=-0.0)):
        other = replace(base, **change)
        assert key_of(other, heart) == key_of(base, heart)
        assert evaluation.evaluate(other, heart)[1].equals(evaluation.evaluate(base, heart)[1])


def test_the_place_of_a_file_is_not_part_of_its_name(store, trainings, no_pictures):
    heart = load("heart")
    frame = heart.X.assign(HeartDisease=heart.y)
    frame.to_csv("a.csv", index=False)
    (store / "deep").mkdir()
    frame.to_parquet("deep/b.parquet")
    run(replace(SMALL, data="a.csv", target="HeartDisease"))
    assert run(replace(SMALL, data="deep/b.parquet", target="HeartDisease")).cached
    frame.iloc[0, 0] += 1
    frame.to_csv("a.csv", index=False)
    assert not run(replace(SMALL, data="a.csv", target="HeartDisease")).cached


@EVERY_TASK
def test_force_trains_again_and_gives_the_same_numbers(task, store, trainings, no_pictures):
    small = small_config(task)
    first, forced = run(small), run(small, force=True)
    assert len(trainings) == 2 and forced.oof.equals(first.oof)


def test_a_run_without_its_key_does_not_count(store, trainings):
    run_id = run(SMALL).run_id
    client, _ = tracking.connect()
    client.delete_tag(run_id, tracking.KEY)
    assert not run(SMALL).cached and len(trainings) == 2
    assert run_id not in set(runs().run_id)
    assert purge(broken=True) == [], "its process is alive, so it may be about to write the key"
    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait()
    client.set_tag(run_id, "mlp_bench.process", f"{socket.gethostname()}:{gone.pid}")
    assert purge(broken=True) == [run_id]
    assert run(SMALL).cached


@EVERY_TASK
def test_purging_leaves_no_file_of_the_run(task, store):
    small = small_config(task)
    kept, gone = run(small), run(replace(small, seed=1))
    before = {p for p in store.rglob("*") if p.is_file()}
    purge([gone.run_id])
    left = [p for p in store.rglob("*") if gone.run_id in str(p)]
    assert not left and list(runs().run_id) == [kept.run_id]
    assert len(list(store.glob("mlartifacts/models/*"))) == 1 and len(before) > 10


@EVERY_TASK
def test_a_failed_run_leaves_no_result(task, store):
    wild = replace(small_config(task), optimizer="sgd", learning_rate=1e6, epochs=200, dropout=0.0)
    with pytest.raises(ValueError, match="learning_rate"):
        run(wild)
    assert runs().empty
    assert [r.info.status for r in tracking.purgeable(broken=True)] == ["FAILED"]


@pytest.mark.slow
def test_processes_that_start_together_on_an_empty_store_all_succeed(no_store):
    code = (
        "import sys; from mlp_bench import Config, run; "
        "run(Config(plan='cv:2', epochs=1, hidden_layer_sizes=(4,), seed=int(sys.argv[1])))"
    )
    commands = [[sys.executable, "-c", code, str(i)] for i in range(2)]
    together = [subprocess.Popen(command, stderr=subprocess.PIPE) for command in commands]
    errors = [p.communicate()[1].decode() for p in together]
    assert [p.returncode for p in together] == [0] * 2, errors
    assert sorted(runs().seed) == [0, 1]


def test_numpy_numbers_make_the_same_configuration():
    import numpy as np

    ours, numpys = Config(epochs=5, dropout=0.1), Config(epochs=np.int64(5), dropout=np.float64(0.1))
    assert key_of(numpys, load("heart")) == key_of(ours, load("heart"))
