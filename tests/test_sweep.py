"""Sweeps: whoever dies on the way, every result is there, and none twice."""

import json
import os
import pickle
import signal
import socket
import subprocess
import sys
import time
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path

import joblib
import numpy as np
import pytest
from joblib.externals.loky import ProcessPoolExecutor
from typer.testing import CliRunner

from mlp_bench.evaluation import key as key_of
from mlp_bench import manager, sweeps, tracking
from mlp_bench.cli import app
from mlp_bench.core import InputError
from mlp_bench.data import load
from mlp_bench.jobs import Job
from mlp_bench.config import Config
from mlp_bench.tracking import find, runs
from mlp_bench.manager import measure, run
from mlp_bench.sweeps import KILLED, batches, grid, measure_together, sweep, work

SMALL = Config(plan="cv:2", epochs=1, hidden_layer_sizes=(4,))
HEART = load("heart")
COMMAND = [sys.executable, "-c", "from mlp_bench.cli import main; main()", "sweep"]
FATAL = 13  # a seed


def small(count):
    return [replace(SMALL, seed=s) for s in range(count)]


def complete(configs, n_runs=None):
    "All results are there, each once, and as if trained alone"
    table = runs()
    recorded = len(tracking.purgeable(all=True))
    assert recorded == len(table) == (n_runs or len(configs)), "no run is doubled or half"
    assert set(table.key) >= {key_of(c, HEART) for c in configs} and table.key.is_unique
    for c in (configs[0], configs[-1]):
        assert find(key_of(c, HEART)).oof.equals(measure(c, HEART).oof)


# What a worker does

VARIED = dict(
    learning_rate=[1e-3, 1e-2],
    dropout=[0, 0.3],
    l2=[0, 1e-3],
    weight_decay=[0, 0.1],
    ensemble=[1, 2],
    label_smoothing=[0, 0.1],
    class_weight=[None, "balanced"],
    seed=[0, 1],
)  # what may differ within a fleet
FIXED = dict(plan=["cv:3"], epochs=[5], hidden_layer_sizes=[(8, 4)])


SHARED = [
    dict(recipe=["robust"], optimizer=["adamw"], dtype=["float64"], average_last=[0.5]),
    dict(plan=["holdout"], early_stopping=[True], patience=[2]),
    pytest.param({}, marks=pytest.mark.slow),
    pytest.param(dict(plan=["holdout"], rng=["keras"]), marks=pytest.mark.slow),
]


@pytest.mark.parametrize("others", SHARED)
def test_configurations_that_are_measured_together_have_the_bits_that_they_have_alone(others):
    configs = grid(VARIED | FIXED | others, random=4)
    assert len(batches(configs, HEART, 1)) <= 2
    for c, together in zip(configs, measure_together(configs, HEART)):
        alone = measure(c, HEART)
        assert together.oof.equals(alone.oof) and np.array_equal(together.curve, alone.curve)
        timed = ["fit_seconds", "predict_us_per_row"]
        assert together.folds.drop(columns=timed).equals(alone.folds.drop(columns=timed))
        for (W, b), (V, a) in zip(together.model.net.members_, alone.model.net.members_):
            assert all(map(np.array_equal, W + b, V + a))
        assert together.model.predict(HEART.X).equals(alone.model.predict(HEART.X))
        assert set(together.figures) == {"roc.png", "confusion.png", "calibration.png"}


def test_a_worker_returns_what_can_travel_and_never_raises():
    wild = replace(SMALL, optimizer="sgd", learning_rate=1e6, epochs=200, dropout=0.0)
    others = [replace(wild, learning_rate=0.1, epochs=2), replace(SMALL, backend="logistic")]
    (key, why), *answers = pickle.loads(pickle.dumps(work([wild, *others], HEART)))
    assert key is None and "learning_rate" in why
    assert [key for key, _ in answers] == [key_of(c, HEART) for c in others]
    assert all(0.5 < evaluation.metrics["roc_auc"] < 1 for _, evaluation in answers)


def test_a_worker_uses_one_core_and_no_tracking():
    code = """if True:
        import sys, numpy as np
        from unittest.mock import patch
        from dataclasses import replace
        from mlp_bench import fleet
        from mlp_bench.data import load
        from mlp_bench.config import Config
        from mlp_bench.sweeps import work
        one = [Config(plan="cv:3", epochs=2, ensemble=12)]
        two = [Config(plan="cv:3", epochs=2, ensemble=6, seed=s) for s in (0, 1)]
        elsewhere = patch.object(fleet, "work_together", side_effect=AssertionError("more processes"))
        with elsewhere, patch("mlp_bench.estimators.MIN_PARALLEL_WORK", 0):
            for batch in one, two: assert all(key for key, _ in work(batch, load("heart")))
        print([m for m in ("mlflow", "tensorflow") if m in sys.modules])"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stdout.strip() == "[]", done.stderr[-2000:]


def test_a_batch_shares_what_a_fleet_must_share_and_everybody_has_work():
    configs = grid(
        dict(
            learning_rate=[1e-3, 2e-3, 3e-3, 4e-3],
            hidden_layer_sizes=[(4,), (8,)],
            recipe=["standard", "robust"],
            backend=["numpy", "keras", "logistic"],
        )
    )
    for workers in 1, 2, 3:
        cut = batches(configs, HEART, workers)
        assert sorted(map(repr, sum(cut, []))) == sorted(map(repr, configs)) and len(cut) >= 2 * workers
        assert all(len({(c.backend, c.recipe, c.hidden_layer_sizes) for c in batch}) == 1 for batch in cut)
        assert all(batch[0].backend == "numpy" or len(batch) == 1 for batch in cut)
        assert cut[0][0].backend == "keras"  # what takes long comes first
    assert [len(b) for b in batches(small(8), HEART, 2)] == [2] * 4


# Grids


def test_a_random_sample_is_drawn_from_the_grid_and_is_the_same_every_time():
    rates = np.geomspace(1e-4, 1e-1, 50).tolist()
    settings = dict(learning_rate=rates, dropout=[0, 0.1, 0.2], seed=list(range(100)))
    one, again, other = (grid(settings, random=20, sample_seed=s) for s in (0, 0, 1))
    assert one == again != other and len(set(one)) == 20
    assert all(c.learning_rate in rates for c in one)
    assert len(grid(dict(seed=[0, 1]), random=20)) == 2


# The local engine


def fatal(configs, dataset):
    "As `work`, but one configuration kills its worker every time, and another one once"
    seeds, once = {c.seed for c in configs}, Path(os.environ["ONCE"])
    if FATAL in seeds:
        os.kill(os.getpid(), signal.SIGKILL)
    if 2 in seeds and not once.exists():
        once.touch()
        os.kill(os.getpid(), signal.SIGKILL)
    return work(configs, dataset)


@pytest.mark.slow
def test_a_killed_workers_configurations_are_measured_by_another(store, monkeypatch):
    configs = [replace(SMALL, hidden_layer_sizes=(n,)) for n in range(1, 13)]  # a batch each
    killed, pools = [], []

    class Noted(ProcessPoolExecutor):
        def __init__(self, *args, **options):
            super().__init__(*args, **options)
            pools.append(self)

    monkeypatch.setattr(sweeps, "ProcessPoolExecutor", Noted)

    def tell(share, text):
        if not share or killed:
            return
        killed.append(next(iter(pools[0]._processes)))
        os.kill(killed[0], signal.SIGKILL)

    done = sweep(configs, jobs=2, progress=tell)
    assert len(pools) == 2 and str(done) == "12 trained, 0 found in the store, 0 skipped"
    complete(configs)
    again = sweep(configs, jobs=2, progress=lambda share, text: pytest.fail("something was measured"))
    assert str(again) == "0 trained, 12 found in the store, 0 skipped" and len(runs()) == 12


@pytest.mark.slow
def test_a_configuration_that_kills_its_worker_again_and_again_is_skipped_and_no_other(store, monkeypatch):
    monkeypatch.setenv("ONCE", str(store / "once"))
    monkeypatch.setattr(sweeps, "work", fatal)
    configs = small(FATAL + 1)
    done = sweep(configs, jobs=2)
    assert (store / "once").exists() and len(done.trained) == FATAL
    assert [(c.seed, why) for c, why in done.skipped] == [(FATAL, KILLED)]
    complete(configs[:FATAL])


@pytest.mark.slow
def test_one_job_is_a_process_too(store, monkeypatch):
    monkeypatch.setattr(sweeps, "work", fatal)
    monkeypatch.setenv("ONCE", __file__)
    done = sweep([*small(1), replace(SMALL, seed=FATAL)], jobs=1)
    assert len(done.trained) == 1 and [c.seed for c, _ in done.skipped] == [FATAL]


def test_a_table_that_is_a_read_only_map_of_a_file_is_as_good(tmp_path):
    joblib.dump(HEART, tmp_path / "heart")
    mapped = joblib.load(tmp_path / "heart", mmap_mode="r")
    assert not mapped.y.flags.writeable
    for batch in small(2), [replace(SMALL, recipe="seed")]:
        for (key, evaluation), c in zip(work(batch, mapped), batch):
            assert key == key_of(c, HEART) and evaluation.oof.equals(measure(c, HEART).oof)


def test_one_table_several_backends_and_what_cannot_be_trained(store, no_workers, no_pictures):
    configs = grid(
        dict(
            backend=["numpy", "logistic", "majority"],
            seed=[0, 1],
            early_stopping=[False, True],
            average_last=[0, 0.5],
            plan=["cv:2"],
            epochs=[1],
            hidden_layer_sizes=[(4,)],
        )
    )
    done = sweep(configs, jobs=1)
    assert len(done.trained) == 6 + 2, "baselines read no seed but their own, so equal ones are one"
    assert [c.backend for c, _ in done.skipped] == ["numpy"] * 2
    assert all("average_last" in why for _, why in done.skipped) and len(runs()) == 8
    with pytest.raises(InputError, match="one table"):
        sweep([SMALL, replace(SMALL, data="heart-restored")])


def test_a_result_that_arrives_twice_is_stored_once(store):
    first, second = (manager.log_run(measure(SMALL, HEART), HEART, key_of(SMALL, HEART)) for _ in range(2))
    assert not first.cached and second.cached and first.run_id == second.run_id == run(SMALL).run_id
    complete([SMALL])


def test_the_answer_of_a_worker_with_other_libraries_is_not_taken(store):
    done = sweeps.Sweep(HEART)
    done.record(SMALL, "0" * 64, measure(SMALL, HEART))
    assert "other versions" in done.skipped[0][1] and not done.trained and runs().empty


@pytest.mark.slow
def test_ctrl_c_keeps_what_was_finished(store):
    tracking.connect()
    seeds = ",".join(map(str, range(200)))
    args = ["--plan", "cv:10", "--epochs", "1", "--hidden-layer-sizes", "4", "--seed", seeds, "--jobs", "2"]
    child = subprocess.Popen(
        [*COMMAND, *args], stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True, start_new_session=True
    )
    while len(runs()) < 3:
        assert child.poll() is None, child.communicate()
        time.sleep(0.1)
    os.killpg(child.pid, signal.SIGINT)  # as a terminal does: to the command and to its workers
    _, stderr = child.communicate()
    finished, broken = len(runs()), len(tracking.purgeable(broken=True))
    assert child.returncode == 130, stderr
    assert "Traceback" not in stderr and stderr.strip().endswith("Interrupted."), stderr
    assert 3 <= finished < 200 and len(tracking.purgeable(all=True)) == finished + broken


# The command


def test_modules_that_lie_beside_the_data_are_never_imported(store):
    for name in "joblib", "numpy":
        Path(f"{name}.py").write_text("open('marker', 'a').write(__name__ + ' ')")
    args = ["--plan", "cv:2", "--epochs", "1", "--hidden-layer-sizes", "4", "--seed", "0,1", "--jobs", "1"]
    isolated = [sys.executable, "-P", *COMMAND[1:], *args]  # as what is installed starts
    done = subprocess.run(isolated, capture_output=True, text=True)
    job = Job().start([SMALL])
    job.listener.join()
    assert done.returncode == 0 and job.finished and not Path("marker").exists(), done.stderr


def test_the_command_ranks_and_the_second_time_does_nothing(store, no_workers, no_pictures):
    args = [
        "sweep",
        "--plan",
        "cv:2",
        "--epochs",
        "2",
        "--hidden-layer-sizes",
        "4,4-2",
        "--learning-rate",
        "1e-3,1e-2",
        "--jobs",
        "1",
        "--json",
        "s.json",
    ]
    done = CliRunner().invoke(app, args)
    assert done.exit_code == 0, done.output
    assert done.stdout.rstrip().endswith("4 trained, 0 found in the store, 0 skipped.")
    report = json.loads(Path("s.json").read_text())
    aucs = [r["metrics"]["roc_auc"]["mean"] for r in report["runs"]]
    assert aucs == sorted(aucs, reverse=True) and len(aucs) == report["trained"] == 4
    assert report["runs"][0]["metrics"]["roc_auc"]["ci95"]
    assert {tuple(r["config"]["hidden_layer_sizes"]) for r in report["runs"]} == {(4,), (4, 2)}
    again = CliRunner().invoke(app, args)
    assert again.stdout.rstrip().endswith("0 trained, 4 found in the store, 0 skipped.") and len(runs()) == 4


def test_skipped_configurations_are_told_on_stderr_and_if_all_are_it_is_an_error(store, no_workers):
    args = [
        "sweep",
        "--plan",
        "cv:2",
        "--hidden-layer-sizes",
        "4",
        "--dropout",
        "0",
        "--optimizer",
        "sgd",
        "--epochs",
        "40",
        "--jobs",
        "1",
    ]
    some = CliRunner().invoke(app, [*args, "--learning-rate", "0.01,1e6"])
    assert some.exit_code == 0 and "Skipped 1 configuration" in some.stderr
    assert "1 trained, 0 found in the store, 1 skipped." in some.stdout
    none = CliRunner().invoke(app, [*args, "--learning-rate", "1e6"])
    assert none.exit_code == 2 and "Skipped 1 configuration" in none.stderr


def listed(count, start=0):
    return ",".join(map(str, range(start, count)))


SEEDS_AND_PATIENCE = ["--seed", listed(3000), "--patience", listed(3000, 1)]
WHOLE_NUMBERS = ("--seed", "--patience", "--epochs", "--batch-size", "--ensemble", "--hidden-layer-sizes")
MISTAKES = [
    (["--optimizer", "adam,adm"], "adm"),
    (["--learning-rate", "0.1;0.2"], "learning_rate"),
    (["--hidden-layer-sizes", "16-a"], "hyphens"),
    (["--early-stopping", "perhaps"], "true"),
    (["--engine", "ray"], "dask"),
    (["--engine", "dask"], "--scheduler"),
    (["--scheduler", "tcp://127.0.0.1:1"], "--engine dask"),
    (["--seed", listed(400), "--patience", listed(400, 1)], "--random"),
    ([*SEEDS_AND_PATIENCE, "--random", "5000000"], "5,000,000 configurations"),
    ([*(x for name in WHOLE_NUMBERS for x in (name, listed(3000, 1))), "--random", "5"], "fewer values"),
]


@pytest.mark.parametrize("wrong, named", MISTAKES)
def test_a_mistake_is_one_sentence_before_anything_is_trained(wrong, named, no_store):
    done = CliRunner().invoke(app, ["sweep", *wrong])
    assert done.exit_code == 2 and named in done.stderr and done.stderr.strip().count("\n") == 0
    assert not list(no_store.iterdir())


# A real cluster


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def dask(*args, **env):
    command = [sys.executable, "-m", "dask", *args]
    return subprocess.Popen(
        command,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        env={**os.environ, **env},
    )


@contextmanager
def cluster(workers, *options, **env):
    "The address of a scheduler and the processes of its workers"
    address = f"tcp://127.0.0.1:{free_port()}"
    port = address.rpartition(":")[2]
    scheduler = dask("scheduler", "--host", "127.0.0.1", "--port", port, "--no-dashboard", **env)
    worker = ["worker", address, "--nworkers", "1", "--nthreads", "1", "--no-dashboard", *options]
    started = [dask(*worker, **env) for _ in range(workers)]
    try:
        from distributed import Client

        with Client(address, timeout=60) as client:
            if workers:
                client.wait_for_workers(workers, timeout=60)
        yield address, started, scheduler
    finally:
        for p in [*started, scheduler]:
            with suppress(ProcessLookupError):
                os.killpg(p.pid, signal.SIGKILL)
            p.communicate()


def test_a_cluster_that_loses_a_worker_in_mid_sweep_has_all_results_and_none_twice(store):
    configs, killed = small(8), []
    with cluster(2, "--no-nanny") as (address, workers, _):

        def tell(share, text):
            if not share or killed:
                return
            killed.append(workers[0])
            os.kill(workers[0].pid, signal.SIGKILL)

        done = sweep(configs, "dask", scheduler=address, progress=tell)
        assert workers[0].wait() == -signal.SIGKILL
        assert str(done) == "8 trained, 0 found in the store, 0 skipped"
        complete(configs)
        again = sweep(configs, "dask", scheduler=address)  # with the worker that is left
        assert str(again) == "0 trained, 8 found in the store, 0 skipped" and len(runs()) == 8
        assert len(sweep([replace(SMALL, seed=99)], "dask", scheduler=address).trained) == 1


@pytest.mark.slow
def test_a_configuration_that_kills_workers_of_a_cluster_is_skipped_and_no_other(store, monkeypatch):
    monkeypatch.setattr(sweeps, "work", fatal)
    configs = small(FATAL + 1)
    path = os.pathsep.join([str(Path(__file__).parent), os.environ.get("PYTHONPATH", "")])
    env = dict(DASK_DISTRIBUTED__SCHEDULER__ALLOWED_FAILURES="0", PYTHONPATH=path, ONCE=__file__)
    with cluster(2, **env) as (address, *_):
        done = sweep(configs, "dask", scheduler=address)
    assert [(c.seed, why) for c, why in done.skipped] == [(FATAL, KILLED)] and len(done.trained) == FATAL
    complete(configs[:FATAL])


def test_a_scheduler_that_is_not_there_is_one_sentence(no_store, monkeypatch):
    args = [*COMMAND, "--engine", "dask", "--scheduler", f"tcp://127.0.0.1:{free_port()}"]
    done = subprocess.run(args, capture_output=True, text=True)  # Dask would complain at this process's end
    assert done.returncode == 2 and "No Dask scheduler answers" in done.stderr
    assert done.stderr.strip().count("\n") == 0
    for address in "nonsense://", "here", "tcp://127.0.0.1", "tcp://127.0.0.1:99999":
        with pytest.raises(InputError, match="--scheduler"):
            sweep([SMALL], "dask", scheduler=address)
    monkeypatch.setattr("mlp_bench.core.find_spec", lambda name: name != "distributed" or None)
    with pytest.raises(InputError, match=r"mlp_bench\[cluster\]"):
        sweep([SMALL], "dask", scheduler="tcp://127.0.0.1:8786")


@pytest.mark.slow
def test_a_scheduler_without_workers_is_one_sentence(no_store):
    with cluster(0) as (address, *_), pytest.raises(InputError, match="has workers"):
        sweep([SMALL], "dask", scheduler=address)


@pytest.mark.slow
def test_a_scheduler_that_goes_away_is_one_sentence_and_what_was_finished_is_kept(store):
    with cluster(2) as (address, _, scheduler):

        def tell(share, text):
            if share:
                os.kill(scheduler.pid, signal.SIGKILL)

        work = [replace(config, epochs=5000) for config in small(24)]  # not done when the first is recorded
        with pytest.raises(InputError, match="does not do the work"):
            sweep(work, "dask", scheduler=address, progress=tell)
    assert len(runs()) >= 1
