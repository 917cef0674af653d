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

TINY = dict(rows=200, columns=5, hidden=(4, 3), batch_size=32, epochs=1, cores=1)


@pytest.mark.parametrize("name", ["ours", "textbook", "sklearn", "floor", "fleet_64", "floor_64", "keras_fit", "keras_fed"])
def test_a_contender_counts_its_steps(name):
    assert bench.CONTENDERS[name][0](*bench.table(200, 5), TINY)() == 7 * (64 if "64" in name else 1)


def test_the_floor_multiplies_the_matrices_of_a_step():
    seen = []
    real, bench.np.dot = np.dot, lambda a, b, out: seen.append((a.shape, b.shape, out.shape)) or real(a, b, out)
    try: bench.gemm_floor(*bench.table(32, 5), TINY)()
    finally: bench.np.dot = real
    forward = [((4, 6), (6, 32), (4, 32)), ((3, 5), (5, 32), (3, 32)), ((1, 4), (4, 32), (1, 32))]
    gradients = [((6, 32), (32, 4), (6, 4)), ((5, 32), (32, 3), (5, 3)), ((4, 32), (32, 1), (4, 1))]
    back = [((4, 3), (3, 32), (4, 32)), ((3, 1), (1, 32), (3, 32))]
    assert seen == forward + gradients + back


def test_rounds_are_interleaved_and_every_time_is_kept():
    told = []
    results = bench.measure(["ours", "sklearn"], TINY, rounds=3, progress=lambda share, text: told.append(text))
    labels = [bench.CONTENDERS[name][1] for name in ["ours", "sklearn"]]
    assert told == [f"starting {label}" for label in labels] + labels * 3
    for r in results: assert len(r["us"]) == 3 and r["median"] == sorted(r["us"])[1] and r["setup"] > 0 and r["compile"] >= 0


def hide(names, folder, monkeypatch):
    "Make libraries look as if they were not installed"
    for name in names: (folder / f"{name}.py").write_text(f"raise ModuleNotFoundError('No module named {name}', name='{name}')")
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
        if hasattr(os, "sched_getaffinity"): assert len(os.sched_getaffinity(process.pid)) == 1
    finally:
        process.kill()
        process.communicate()


def test_every_contender_is_in_a_task():
    assert {name for task in bench.TASKS.values() for name in bench.contenders_of(task)} == set(bench.CONTENDERS)


def test_an_unknown_task_is_named():
    with pytest.raises(InputError, match="Unknown task 'chess'"): bench.bench(tasks=["chess"])


@pytest.mark.parametrize("hidden", [pytest.param(h, marks=pytest.mark.slow) for h in (["keras", "tensorflow", "torch"], [])], ids=["without frameworks", "with all"])
def test_command_writes_versions_machine_and_every_time(hidden, tmp_path, monkeypatch):
    hide(hidden, tmp_path, monkeypatch)
    command = [Path(sys.executable).with_name("mlp_bench"), "bench", "--task", "one row", "--rounds", "2", "--cores", "1", "--json", "b.json"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    found = json.loads((tmp_path / "b.json").read_text())
    assert {"processor", "cores", "system"} <= set(found["machine"]) and {"numpy", "scikit-learn", "tensorflow"} <= set(found["versions"])
    timed = [r for r in found["results"] if "us" in r]
    assert all(len(r["us"]) == 2 and r["cores"] == 1 and r["task"] == "one row" for r in timed)
    assert {"predict_ours", "predict_sklearn", *(["predict_keras"] if not hidden else [])} <= {r["name"] for r in timed}
    assert "one row, 1 core" in done.stdout and "mlp_bench predict_proba" in done.stdout
    assert not hidden or "Left out, since not installed: " in done.stdout


@pytest.mark.parametrize("wrong, words", [(["--task", "chess"], "Unknown task 'chess'"), (["--json", "no/where.json"], "Nothing can be written"), (["--rounds", "0"], "rounds"), (["--cores", "1000"], "--cores 1000")])
def test_command_refuses_what_it_cannot_do(wrong, words, tmp_path):
    done = subprocess.run([Path(sys.executable).with_name("mlp_bench"), "bench", *wrong], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 2 and words in done.stderr and "Traceback" not in done.stderr
