"""Where a terminal or a pipe does not take every character, every command goes on, and is read."""

import io
import os
import signal
import subprocess
import sys
import warnings
from pathlib import Path
from unittest.mock import patch

import numpy as np
import pandas as pd
import pytest

from mlp_bench import bench, cli, reports
from mlp_bench.config import Config
from mlp_bench.manager import run
from mlp_bench.tracking import runs

TABLE, TARGET = "Δ→.csv", "π"
SETTINGS = [TABLE, "--target", TARGET, "--plan", "cv:2", "--backend"]
A_TIME = dict(name="numpy", label="NumPy µ", task="one row", cores=1, median=9e-1, us=[9e-1], setup=1.0)
TIMES = dict(
    machine=dict(processor="µ−1 ×"),
    date="2026",
    versions=dict(numpy="2"),
    results=[A_TIME | dict(compile=0.1), dict(name="jax", task="one row", cores=1, missing="jax")],
)
COMMANDS = {
    "run": [*SETTINGS, "logistic"],
    "sweep": [*SETTINGS, "logistic,majority"],
    "audit": [TABLE, "--target", TARGET],
    "rank": [],
    "contrast": ["LOGISTIC", "MAJORITY"],
    "report": [*SETTINGS, "numpy", "--out", "−.html"],
    "predict": ["LOGISTIC", TABLE],
    "purge": ["--all"],  # nobody can be asked, so that all stay
    "bench": [],
    "dashboard": ["--token", "×"],
}
SAID = {"run": "d->.csv: 60 rows", "rank": "d->.csv, cv:2", "predict": ",-\n", "bench": "NumPy"}


@pytest.fixture(scope="module")
def odd_store(shared_store):
    "Two runs on a table whose names and labels are hardly in any code page; their ids"
    x = np.linspace(-1, 1, 60)
    label = np.where(x + np.sin(9 * x) > 0, "−", "é")
    pd.DataFrame({"x": x, "≤…": x[::-1], "constant ±": 1, TARGET: label}).to_csv(TABLE, index=False)
    settings = dict(data=TABLE, target=TARGET, plan="cv:2")
    return {b.upper(): run(Config(backend=b, **settings)).run_id for b in ("logistic", "majority")}


@pytest.fixture
def program(monkeypatch):
    "Calls the program here: arguments and an encoding → exit code, and what it wrote to stdout and stderr"
    monkeypatch.setattr(warnings, "formatwarning", warnings.formatwarning)
    monkeypatch.setattr(bench, "bench", lambda *_: TIMES)
    monkeypatch.setattr(reports, "report", lambda *_, **__: "<p>−</p>")
    monkeypatch.setattr(os, "execve", lambda *_: None)
    handlers = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}

    def call(args, encoding):
        streams = [io.TextIOWrapper(io.BytesIO(), encoding) for _ in range(2)]
        with patch.multiple(sys, stdout=streams[0], stderr=streams[1], stdin=io.StringIO()):
            with patch.object(sys, "argv", ["mlp_bench", *args]), patch.dict(os.environ):
                with pytest.raises(SystemExit) as ended:
                    cli.main()
                written = [(s.flush(), s.buffer.getvalue().decode(encoding))[1] for s in streams]
        return ended.value.code, *written

    yield call
    for number, handler in handlers.items():
        signal.signal(number, handler)


@pytest.mark.parametrize("encoding", ["ascii", "cp1252"])
@pytest.mark.parametrize("command", [c.callback.__name__ for c in cli.app.registered_commands])
def test_a_command_goes_on_where_not_every_character_can_be_written(command, encoding, program, odd_store):
    code, out, err = program([command, *(odd_store.get(a, a) for a in COMMANDS[command])], encoding)
    assert code == (2 if command == "purge" else 0), err
    assert out and "Traceback" not in err and "codec" not in err
    assert SAID.get(command, "") in out


@pytest.mark.parametrize("command", [c.callback.__name__ for c in cli.app.registered_commands])
def test_help_is_plain_ascii(command, program):
    code, out, _ = program([command, "--help"], "utf-8")
    assert code == 0 and out.isascii()


def test_a_mistake_is_told_where_not_every_character_can_be_written(program, odd_store):
    code, _, err = program(["run", "Δ−é.csv"], "ascii")
    assert code == 2 and "d-?.csv" in err


def test_the_package_is_a_command_and_its_lines_are_plain_where_they_must_be(odd_store):
    ask = [sys.executable, "-m", "mlp_bench", "rank"]
    done = subprocess.run(ask, env=os.environ | dict(PYTHONIOENCODING="ascii"), capture_output=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout.isascii() and b"d->.csv" in done.stdout and b"-----" in done.stdout


def test_what_is_written_to_a_file_keeps_every_character(program, odd_store):
    assert program(["predict", odd_store["LOGISTIC"], TABLE, "--out", "out.csv"], "ascii")[0] == 0
    assert set(pd.read_csv("out.csv").label) == {"−", "é"}
    assert program(["report", *COMMANDS["report"]], "ascii")[0] == 0
    assert Path("−.html").read_text(encoding="utf-8") == "<p>−</p>" and len(runs()) == 2
