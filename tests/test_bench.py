"""The benchmark: fair to measure, complete to read."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from mlp_bench import bench
from mlp_bench.core import InputError

COMMAND = [Path(sys.executable).with_name("mlp_bench"), "bench"]
TINY = dict(rows=200, columns=5, hidden=(4, 3), batch_size=32, epochs=1, cores=1)


@pytest.mark.parametrize(
    "name",
    ["ours", "textbook", "sklearn", "floor", "fleet_64", "floor_64", "keras_fit", "keras_steps", "keras_fed"],
)
def test_a_contender_trains_and_counts_its_steps(name):
    train, steps = bench.CONTENDERS[name][0](*bench.table(200, 5), TINY)
    train()
    assert steps == 7 * (64 if "64" in name else 1)


def test_a_contenders_steps_are_those_that_it_makes(monkeypatch):
    calls = []
    monkeypatch.setattr(bench.TextbookMLP, "step", lambda self, X, y: calls.append(len(X)))
    train, steps = bench.textbook(*bench.table(200, 5), TINY | dict(few=3))
    train()
    assert steps == len(calls) == 3 * 7 and sum(calls) == 3 * 200


def test_the_floor_multiplies_the_matrices_of_a_step(monkeypatch):
    shapes = []
    monkeypatch.setattr(np, "dot", lambda *arrays: shapes.append(tuple(a.shape for a in arrays)))
    work, _ = bench.gemm_floor(*bench.table(32, 5), TINY)
    work()
    forward = [((4, 6), (6, 32), (4, 32)), ((3, 5), (5, 32), (3, 32)), ((1, 4), (4, 32), (1, 32))]
    gradients = [((6, 32), (32, 4), (6, 4)), ((5, 32), (32, 3), (5, 3)), ((4, 32), (32, 1), (4, 1))]
    back = [((4, 3), (3, 32), (4, 32)), ((3, 1), (1, 32), (3, 32))]
    assert shapes == forward + gradients + back


def test_rounds_are_interleaved_and_every_time_is_kept():
    texts = []
    names = ["ours", "sklearn"]
    results = bench.measure(names, TINY, rounds=3, progress=lambda share, text: texts.append(text))
    labels = [bench.CONTENDERS[name][1] for name in names]
    assert texts == [f"starting {label}" for label in labels] + labels * 3
    for r in results:
        assert len(r["us"]) == 3 and r["median"] == sorted(r["us"])[1]
        assert r["setup"] > 0 and r["compile"] >= 0


def hide(names, folder, monkeypatch):
    "Make libraries look as if they were not installed"
    for name in names:
        error = f"ModuleNotFoundError('No module named {name}', name='{name}')"
        (folder / f"{name}.py").write_text(f"raise {error}")
    monkeypatch.setenv("PYTHONPATH", f"{folder}{os.pathsep}{os.environ.get('PYTHONPATH', '')}")


def test_a_library_that_is_missing_is_named_and_left_out(tmp_path, monkeypatch):
    hide(["torch"], tmp_path, monkeypatch)
    ours, torch = bench.measure(["ours", "torch"], TINY, rounds=1)
    assert "median" in ours and torch == dict(name="torch", label="PyTorch, eager", missing="torch")


def test_workers_are_held_to_the_cores_they_may_use():
    assert {v for k, v in bench.environment("ours", 1).items() if k.endswith("_NUM_THREADS")} == {"1"}
    process = bench.start_worker("ours", TINY)
    try:
        process.stdout.readline()
        if hasattr(os, "sched_getaffinity"):
            assert len(os.sched_getaffinity(process.pid)) == 1
    finally:
        process.kill()
        process.communicate()


def test_every_contender_is_in_a_task():
    taking_part = {name for task in bench.TASKS.values() for name in bench.contenders_of(task)}
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
def test_command_refuses_what_it_cannot_do(wrong, words, tmp_path):
    done = subprocess.run([*COMMAND, *wrong], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 2 and words in done.stderr and "Traceback" not in done.stderr
