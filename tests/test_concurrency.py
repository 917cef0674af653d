"""Many processes on one store: nothing is trained twice, nothing is lost, and nobody fails."""

import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import asdict
from pathlib import Path

import pytest
from conftest import small_config
from servers import POSTGRES, free_port, mlflow_server, postgres

from mlp_bench.evaluation import key as key_of
from mlp_bench import manager, tracking
from mlp_bench.data import load
from mlp_bench.config import TASKS, Config
from mlp_bench.tracking import purge, runs
from mlp_bench.manager import run

SMALL = Config(plan="cv:2", epochs=1, hidden_layer_sizes=(4,))
PART = """
import json, os, sys
from mlp_bench import Config, run
first, count = map(int, sys.argv[1:3])
small = json.loads(sys.argv[3])
made = [run(Config(**small | dict(seed=s))) for s in range(first, first + count)]
def scores(r): return json.dumps(r.metrics, sort_keys=True)
facts = [[r.run_id, r.cached, scores(r), r.oof.iloc[:, 3:].sum().sum()] for r in made]
print(json.dumps(facts))
"""


def together(parts, small=SMALL):
    "What processes print that run at once, each asking for `count` configurations from a first seed on"
    started = [
        subprocess.Popen(
            [sys.executable, "-c", PART, str(first), str(count), json.dumps(asdict(small))],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for first, count in parts
    ]
    told = [p.communicate() for p in started]
    assert [p.returncode for p in started] == [0] * len(parts), [err[-2000:] for _, err in told]
    return [json.loads(out) for out, _ in told]


@pytest.mark.slow
@pytest.mark.parametrize("task", TASKS)
def test_eight_processes_that_ask_for_one_new_configuration_train_it_once(task, no_store):
    told = together([(0, 1)] * 8, small_config(task))
    assert (
        len({(run_id, auc, p) for ((run_id, _, auc, p),) in told}) == 1
        and sorted(cached for ((_, cached, _, _),) in told) == [False] + [True] * 7
    )
    assert len(tracking.purgeable(all=True)) == len(runs()) == 1
    assert not list(no_store.glob("mlflow.db.locks/*")) and not list(no_store.glob("*.new*"))


@pytest.mark.slow
def test_eight_processes_with_25_configurations_each_lose_and_double_none(store):
    told = [one for part in together([(25 * i, 25) for i in range(8)]) for one in part]
    assert len({run_id for run_id, *_ in told}) == 200 and not any(cached for _, cached, *_ in told)
    assert sorted(runs().seed) == list(range(200)) and len(tracking.purgeable(all=True)) == 200


@pytest.mark.slow
def test_processes_of_one_machine_that_share_a_server_train_a_configuration_once(no_store, monkeypatch):
    server = mlflow_server(no_store, port := free_port())
    try:
        monkeypatch.setenv("MLFLOW_TRACKING_URI", f"http://127.0.0.1:{port}")
        monkeypatch.setenv("XDG_CACHE_HOME", str(no_store / "caches"))
        told = together([(0, 3)] * 4)
        assert sorted(cached for part in told for _, cached, *_ in part) == [False] * 3 + [True] * 9
        assert len({run_id for part in told for run_id, *_ in part}) == len(tracking.purgeable(all=True)) == 3
    finally:
        os.killpg(server.pid, signal.SIGKILL)


@pytest.mark.slow
@pytest.mark.skipif(not POSTGRES, reason="needs Debian's package postgresql")
def test_eight_processes_on_a_server_with_postgresql_lose_and_double_no_run(no_store, monkeypatch):
    with postgres() as address:
        server = mlflow_server(no_store, port := free_port(), address)
        try:
            monkeypatch.setenv("MLFLOW_TRACKING_URI", f"http://127.0.0.1:{port}")
            monkeypatch.setenv("XDG_CACHE_HOME", str(no_store / "caches"))
            told = [
                run for part in together([(2 * i, 3) for i in range(8)]) for run in part
            ]  # neighbours share one of their three
            assert (
                len({run_id for run_id, *_ in told}) == len(runs()) == len(tracking.purgeable(all=True)) == 17
            )
            assert sorted(cached for _, cached, *_ in told) == [False] * 17 + [True] * 7
            purge(all=True)
            assert len(runs()) == 0
        finally:
            os.killpg(server.pid, signal.SIGKILL)


def test_who_waits_says_so_and_a_killed_holder_keeps_nobody_waiting(store):
    tracking.connect()
    key, holding = key_of(SMALL, load("heart")), Path("holding")
    code = (
        f"from mlp_bench.manager import _training_lock; import pathlib, time\nwith "
        f"_training_lock({key!r}, print): pathlib.Path('holding').touch(); time.sleep(600)"
    )
    holder = subprocess.Popen([sys.executable, "-c", code])
    while not holding.exists():
        time.sleep(0.05)
    said = []

    def tell(share, text):
        if not said:
            holder.kill()
        said.append(text)

    assert not run(SMALL, progress=tell).cached and "waiting" in said[0] and "waiting" not in said[1]
    holder.wait()


def test_force_waits_for_nobody(store):
    tracking.connect()
    with manager._training_lock(key_of(SMALL, load("heart")), print):
        assert not run(SMALL, force=True).cached


def test_a_failure_leaves_the_configuration_to_the_next(store, monkeypatch):
    with monkeypatch.context() as m:
        m.setattr(manager, "evaluate", lambda *a: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            run(SMALL)
    said = []
    assert not run(SMALL, progress=lambda share, text: said.append(text)).cached and not any(
        "waiting" in text for text in said
    )


def test_a_store_that_is_made_twice_in_one_process_is_made_whole_twice(no_store):
    for _ in range(2):
        client, experiment = tracking.connect()
        assert client.get_experiment(experiment).artifact_location == (no_store / "mlartifacts").as_uri()
        assert {e.name: e.artifact_location for e in client.search_experiments()}.keys() == {
            "mlp_bench",
            "Default",
        }
        (no_store / "mlflow.db").unlink()
    assert not list(no_store.glob("*.new*"))


def test_purging_leaves_the_bin_of_others_alone(store):
    import mlflow

    client = mlflow.MlflowClient()
    foreign = client.create_experiment("foreign")
    thrown = client.create_run(foreign).info.run_id
    client.delete_run(thrown)
    client.delete_experiment(foreign)
    ours = run(Config(plan="cv:2", epochs=1, hidden_layer_sizes=(4,))).run_id
    assert purge([ours]) == [ours]
    client.restore_experiment(foreign)
    client.restore_run(thrown)
    assert client.get_run(thrown).info.lifecycle_stage == "active"
