"""The benchmark: fair to measure, complete to read."""

import json
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from mlp_bench import bench
from mlp_bench.cli import app
from mlp_bench.core import InputError

COMMAND = [Path(sys.executable).with_name("mlp_bench"), "bench"]
TINY = dict(rows=200, columns=5, hidden=(4, 3), batch_size=32, epochs=1, few=1, predict=1, cores=1)


def steps_trained(name):
    train, steps = bench.CONTENDERS[name][0](*bench.table(200, 5), TINY)
    train()
    return steps


@pytest.mark.parametrize(
    "name", ["ours", "textbook", "sklearn", "floor", "fleet_64", "floor_64", "predict_raw"]
)
def test_a_contender_trains_and_counts_its_steps(name):
    assert steps_trained(name) == (1 if "predict" in name else 7 * 64 if "64" in name else 7)


KERAS = dict(
    keras_fit=7, keras_steps=7, keras_fed=7, tf_xla=6, keras_one=1, predict_keras=1, predict_keras_call=1
)


@pytest.mark.parametrize("name, steps", KERAS.items())
def test_a_keras_contender_trains_and_counts_its_steps(name, steps):
    assert steps_trained(name) == steps


def test_a_contenders_steps_are_those_that_it_makes(monkeypatch):
    calls = []
    monkeypatch.setattr(bench.TextbookMLP, "step", lambda self, X, y, w: calls.append(len(X)) or 0.0)
    train, steps = bench.textbook(*bench.table(200, 5), TINY)
    train()
    assert steps == len(calls) == 7 and sum(calls) == 200


def test_the_floor_multiplies_the_matrices_of_a_step(monkeypatch):
    shapes = []
    monkeypatch.setattr(np, "dot", lambda *arrays: shapes.append(tuple(a.shape for a in arrays)))
    work, _ = bench.gemm_floor(*bench.table(200, 5), TINY)
    work()
    forward = [((4, 6), (6, 32), (4, 32)), ((3, 5), (5, 32), (3, 32)), ((1, 4), (4, 32), (1, 32))]
    gradients = [((6, 32), (32, 4), (6, 4)), ((5, 32), (32, 3), (5, 3)), ((4, 32), (32, 1), (4, 1))]
    back = [((4, 3), (3, 32), (4, 32)), ((3, 1), (1, 32), (3, 32))]
    assert shapes == 7 * (forward + gradients + back)


def hide(names, folder, monkeypatch):
    "Make libraries look as if they were not installed"
    for name in names:
        error = f"ModuleNotFoundError('No module named {name}', name='{name}')"
        (folder / f"{name}.py").write_text(f"raise {error}")
    monkeypatch.setenv("PYTHONPATH", f"{folder}{os.pathsep}{os.environ.get('PYTHONPATH', '')}")


class InProcess(ThreadPoolExecutor):
    "In place of a worker's process, which needs seconds to start"

    def shutdown(self, kill_workers):
        super().shutdown()


def test_rounds_are_interleaved_and_every_time_is_kept(monkeypatch):
    monkeypatch.setattr(bench, "start_worker", lambda name, cores: InProcess(1))
    monkeypatch.setitem(sys.modules, "torch", None)
    texts, names = [], ["ours", "torch", "textbook"]
    results = bench.measure(names, TINY, rounds=2, progress=lambda share, text: texts.append(text))
    labels = [bench.CONTENDERS[name][1] for name in names]
    assert texts == [f"starting {label}" for label in labels] + labels[::2] * 2
    assert results.pop(1) == dict(name="torch", label="PyTorch, eager", missing="torch")
    for r in results:
        assert len(r["us"]) == 2 and r["median"] == pytest.approx(sum(r["us"]) / 2)
        assert r["setup"] > 0 and r["compile"] >= 0 and r["first"] > 0 and r["first_steps"] == 7


def test_a_worker_is_held_to_its_cores_names_what_is_missing_and_is_missed(tmp_path, monkeypatch):
    hide(["torch"], tmp_path, monkeypatch)
    worker = bench.start_worker("torch", 1)
    try:
        assert worker.submit(os.getenv, "OPENBLAS_NUM_THREADS").result() == "1"
        if hasattr(os, "sched_getaffinity"):
            assert len(worker.submit(os.sched_getaffinity, 0).result()) == 1
        with pytest.raises(ImportError) as missing:
            worker.submit(bench.timed, "torch", TINY).result()
        assert missing.value.name == "torch"
        with pytest.raises(RuntimeError, match="terminated"):
            worker.submit(os._exit, 3).result()
    finally:
        worker.shutdown(kill_workers=True)


def test_every_contender_is_in_a_task():
    taking_part = {name for task in bench.TASKS for name in bench.TAKING_PART.get(task, bench.TRAINERS)}
    assert taking_part == set(bench.CONTENDERS)


def test_an_unknown_task_is_named():
    with pytest.raises(InputError, match="Unknown task 'chess'"):
        bench.bench(tasks=["chess"])


@pytest.mark.slow
@pytest.mark.parametrize(
    "hidden", [["keras", "tensorflow", "torch"], []], ids=["without frameworks", "with all"]
)
def test_command_writes_versions_machine_and_every_time(hidden, tmp_path, monkeypatch):
    hide(hidden, tmp_path, monkeypatch)
    args = ["--task", "one row", "--rounds", "2", "--cores", "1", "--json", "b.json"]
    done = subprocess.run([*COMMAND, *args], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    report = json.loads((tmp_path / "b.json").read_text())
    assert {"processor", "cores", "system"} <= set(report["machine"])
    assert {"numpy", "scikit-learn", "tensorflow"} <= set(report["versions"])
    timed = [r for r in report["results"] if "us" in r]
    assert all(len(r["us"]) == 2 and r["cores"] == 1 and r["task"] == "one row" for r in timed)
    expected = {"predict_ours", "predict_sklearn", *([] if hidden else ["predict_keras"])}
    assert expected <= {r["name"] for r in timed}
    assert "one row, 1 core" in done.stdout and "mlp_bench predict_proba" in done.stdout
    assert not hidden or "Left out, since not installed: " in done.stdout


MISTAKES = [
    (["--task", "chess"], "Unknown task 'chess'"),
    (["--json", "no/where.json"], "Nothing can be written"),
    (["--rounds", "0"], "rounds"),
    (["--cores", "1000"], "--cores 1000"),
]


@pytest.mark.parametrize("wrong, words", MISTAKES)
def test_command_refuses_what_it_cannot_do(wrong, words, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    done = CliRunner().invoke(app, ["bench", *wrong])
    assert done.exit_code == 2 and words in done.stderr and "Traceback" not in done.stderr
