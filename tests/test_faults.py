"""What happens when things go wrong.

Killed processes, damaged files, full disks, locked databases, servers that go away. Nothing half done is
ever taken for a result.
"""

import json
import os
import shutil
import signal
import socket
import sqlite3
import subprocess
import sys
import threading
import time
from contextlib import closing, suppress
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import pandas as pd
import psutil
import pytest
from hypothesis import HealthCheck, given, settings, strategies as st
from conftest import copy_store, small_config
from forks import command_in_a_process
from servers import free_port, mlflow_server
from typer.testing import CliRunner

from mlp_bench.evaluation import key as key_of
from mlp_bench import manager, tracking
from mlp_bench.cli import app
from mlp_bench.core import InputError
from mlp_bench.data import load
from mlp_bench.config import TASKS, Config, parse_plan
from mlp_bench.tracking import find, get_run, purge, runs
from mlp_bench.manager import load_model, run
from mlp_bench.tracking import local_path, mlflow_run

SMALL = Config(plan="cv:2", epochs=1, hidden_layer_sizes=(4,))
LOGISTIC = Config(plan="cv:2", backend="logistic")
COMMAND = [
    "run",
    "--backend",
    "numpy",
    "--plan",
    "cv:2",
    "--epochs",
    "1",
    "--hidden-layer-sizes",
    "4",
]  # the same
KILLER = Path(__file__).with_name("killer.py")


# Killed


@pytest.mark.parametrize(
    "what",
    [
        "run:1,purge:1",
        *(pytest.param(f"run:0:{task}", marks=pytest.mark.slow) for task in TASKS),
        pytest.param("create:0", marks=pytest.mark.slow),
        pytest.param("purge:0", marks=pytest.mark.slow),
    ],
)
@pytest.mark.timeout(7200)
def test_a_process_killed_at_any_point_leaves_a_store_that_works(what, no_store):
    quiet = {**os.environ, "MLFLOW_DISABLE_TELEMETRY": "true", "TMPDIR": str(no_store.parent)}
    done = subprocess.run(
        [sys.executable, str(KILLER), str(no_store), what],
        capture_output=True,
        text=True,
        env=quiet,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    told = json.loads(done.stdout)
    assert len(told) >= (10 if ":0" in what else 2)  # nought stands for every point
    assert {ended for _, ended, _ in told} == {-signal.SIGKILL}
    assert not [name for name, _, looked in told if looked], done.stderr[-3000:]


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_ctrl_c_ends_a_run_that_is_marked_as_killed(number, store):
    tracking.connect()
    child = subprocess.Popen(
        [
            sys.executable,
            "-c",
            "from mlp_bench.cli import main; main()",
            "run",
            "--backend",
            "numpy",
            "--epochs",
            "1000000",
            "--seed",
            "3",
        ],
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=lambda: signal.signal(number, signal.SIG_DFL),
    )  # whoever runs the tests may ignore it, as nohup does

    def statuses():
        with closing(sqlite3.connect("mlflow.db")) as con:
            return [
                s
                for (s,) in con.execute(
                    "SELECT status FROM runs WHERE run_uuid IN (SELECT run_uuid FROM params)"
                )
            ]

    while not statuses():
        time.sleep(0.1)
    time.sleep(1)  # it trains
    start = time.perf_counter()
    child.send_signal(number)
    _, said = child.communicate(timeout=60)
    print(f"ended {time.perf_counter() - start:.2f} s after the signal")
    assert child.returncode == 130 and said.strip().endswith("Interrupted.") and "Traceback" not in said
    assert statuses() == ["KILLED"] and runs().empty and len(purge(broken=True)) == 1


def workers_of(pid):
    "Those of a process's children that compute"
    return [p for p in psutil.Process(pid).children() if "popen_loky" in " ".join(p.cmdline())]


def lives(process):
    try:
        return process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
@pytest.mark.parametrize(
    "args",
    [
        ["run", "--backend", "numpy", "--epochs", "1000000", "--ensemble", "16"],
        ["sweep", "--epochs", "100000", "--hidden-layer-sizes", "32", "--seed", "0,1,2,3", "--jobs", "2"],
    ],
)
def test_workers_end_soon_after_whom_they_work_for(args, number, store):
    tracking.connect()
    child = subprocess.Popen(
        [sys.executable, "-c", "from mlp_bench.cli import main; main()", *args], stderr=subprocess.DEVNULL
    )
    while not (found := workers_of(child.pid)):
        time.sleep(0.1)
    time.sleep(8)  # they compute
    assert all(map(lives, found))
    child.send_signal(number)
    assert child.wait(timeout=60) == (130 if number == signal.SIGTERM else -number)
    time.sleep(5)
    assert not any(map(lives, found))


# Damaged


def altered(p):
    data = bytearray(p.read_bytes())
    data[len(data) // 2] ^= 1
    p.write_bytes(data)


DAMAGE = {
    "one byte altered": altered,
    "truncated": lambda p: os.truncate(p, p.stat().st_size // 2),
    "emptied": lambda p: os.truncate(p, 0),
    "deleted": lambda p: p.unlink(),
}


@pytest.fixture
def two(trained):
    return two_of(SMALL)


def two_of(small):
    "Two runs, and the files of each by the names that its tag gives them"
    first, second = run(small), run(replace(small, seed=1))
    return first, second, *(places(r.run_id) for r in (first, second))


def places(run_id):
    r = mlflow_run(run_id)
    folder, model = local_path(r.info.artifact_uri), tracking.model_folder(r)
    return {
        name: model / name.removeprefix("model/") if name.startswith("model/") else folder / name
        for name in json.loads(r.data.tags[tracking.FILES])
    }


def refuses(f, run_id, name):
    with pytest.raises(InputError) as said:
        f()
    assert (
        run_id in str(said.value)
        and name in str(said.value)
        and "--force" in str(said.value)
        and f"purge --run {run_id}" in str(said.value)
    )


def test_the_checksums_cover_all_that_is_read(two):
    assert set(two[2]) == {
        "folds.parquet",
        "oof.parquet",
        "model/config.json",
        "model/preprocess.skops",
        "model/weights.safetensors",
    }
    run_id = run(LOGISTIC).run_id
    assert "model/estimator.skops" in places(run_id)


@pytest.mark.parametrize("task", TASKS)
def test_a_damaged_file_is_named_and_never_used(task, trained, monkeypatch):
    small = small_config(task)
    first, second, mine, other = two_of(small)
    monkeypatch.setattr(manager, "measure", lambda *a: pytest.fail("trained without being asked to"))
    for name, path in mine.items():
        swapped = (
            []
            if name == "model/preprocess.skops" and path.read_bytes() == other[name].read_bytes()
            else [("swapped", lambda p: shutil.copy(other[name], p))]
        )
        for how, damage in [*DAMAGE.items(), *swapped]:
            good = path.read_bytes()
            damage(path)
            for f in lambda: get_run(first.run_id), lambda: find(first.key), lambda: run(small):
                refuses(f, first.run_id, name)
            if name.startswith("model/"):
                refuses(lambda: load_model(first.run_id), first.run_id, name)
            path.write_bytes(good)
        assert run(small).cached and get_run(second.run_id).cached
    shutil.rmtree(mine["model/config.json"].parent)
    for f in lambda: run(small), lambda: load_model(first.run_id[:8]):
        refuses(f, first.run_id, "model")


def test_a_damaged_run_is_trained_again_by_force_or_removed(two):
    first, second, mine, _ = two
    altered(mine["model/weights.safetensors"])
    done = CliRunner().invoke(app, COMMAND)
    assert (
        done.exit_code == 2 and "weights.safetensors" in done.stderr and done.stderr.strip().count("\n") == 0
    )
    assert CliRunner().invoke(app, [*COMMAND, "--force"]).exit_code == 0
    again = run(SMALL)
    assert again.cached and again.run_id != first.run_id and again.oof.equals(first.oof)
    assert CliRunner().invoke(app, ["purge", "--run", first.run_id, "--yes"]).exit_code == 0
    assert (
        set(runs().run_id) == {again.run_id, second.run_id, run(LOGISTIC).run_id}
        and run(SMALL).run_id == again.run_id
    )


def test_runs_from_before_there_were_checksums_are_read_as_ever(two):
    first, _, mine, _ = two
    tracking.connect()[0].delete_tag(first.run_id, tracking.FILES)
    mine["model/config.json"].write_text(
        json.dumps(json.loads(mine["model/config.json"].read_text()), indent=3)
    )
    assert (
        run(SMALL).run_id == get_run(first.run_id).run_id == first.run_id
        and len(load_model(first.run_id).predict(load("heart").X)) == 918
    )


# Full, read-only, locked, gone


def said_in_one_sentence(done, *named):
    assert done.exit_code == 2 and done.stderr.strip().count("\n") == 0 and "Traceback" not in done.output, (
        done.output
    )
    assert all(n in done.stderr for n in named), done.stderr


@pytest.fixture
def small_disk(no_store, made, monkeypatch):
    "A run store on a disk of 4 MB"
    disk = no_store / "disk"
    disk.mkdir()
    if (
        shutil.which("mount") is None
        or subprocess.run(
            ["mount", "-t", "tmpfs", "-o", "size=4m", "tmpfs", disk], capture_output=True
        ).returncode
    ):
        pytest.skip("no right to mount")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{copy_store(made.parent, disk)}/mlflow.db")
    yield disk
    subprocess.run(["umount", "-l", disk], check=True)


@pytest.mark.parametrize("kilobytes", [0, pytest.param(40, marks=pytest.mark.slow), 120])
def test_a_full_disk_is_one_sentence_and_no_result(small_disk, kilobytes):
    kept = run(LOGISTIC).run_id
    free = os.statvfs(small_disk)
    (small_disk / "filler").write_bytes(b"x" * max(0, free.f_bavail * free.f_frsize - kilobytes * 1024))
    said_in_one_sentence(CliRunner().invoke(app, COMMAND), str(small_disk))
    assert list(runs().run_id) == [kept]
    (small_disk / "filler").unlink()
    assert CliRunner().invoke(app, COMMAND).exit_code == 0 and run(SMALL).cached and len(runs()) == 2


def test_files_that_may_not_grow_are_one_sentence_and_no_result(store):
    tracking.connect()
    code, stderr = command_in_a_process(COMMAND, file_size=8192)
    assert code == 2 and len(stderr.strip().splitlines()) == 1 and runs().empty, stderr
    assert not run(SMALL).cached


@pytest.mark.skipif(
    not shutil.which("setpriv") and os.geteuid() == 0,
    reason="root writes anywhere, and there is no setpriv to stop it",
)
def test_a_read_only_folder_of_files_is_one_sentence_and_no_result(store):
    kept = run(Config(plan="cv:2", backend="logistic")).run_id
    folders = [store / "mlartifacts", store / "mlartifacts" / "models"]
    drop = (
        ["setpriv", "--bounding-set", "-dac_override,-dac_read_search", "--inh-caps=-all"]
        if os.geteuid() == 0
        else []
    )
    for f in folders:
        f.chmod(0o555)
    try:
        done = subprocess.run(
            [*drop, sys.executable, "-c", f"from mlp_bench.cli import app; app({COMMAND!r})"],
            capture_output=True,
            text=True,
        )
    finally:
        [f.chmod(0o755) for f in folders]
    assert (
        done.returncode == 2 and "mlartifacts" in done.stderr and len(done.stderr.strip().splitlines()) == 1
    ), done.stderr
    assert list(runs().run_id) == [kept] and [r.info.status for r in tracking.purgeable(broken=True)] == [
        "FAILED"
    ]


def locked(path):
    con = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
    con.execute("BEGIN EXCLUSIVE")
    return con


def test_a_store_that_is_busy_for_some_seconds_is_waited_for(store, monkeypatch):
    tracking.connect()
    final_model = manager.final_model

    def busy(*args):
        threading.Timer(3, locked("mlflow.db").close).start()
        return final_model(*args)

    monkeypatch.setattr(manager, "final_model", busy)
    assert not run(SMALL).cached and run(SMALL).cached


@pytest.mark.slow
def test_a_store_that_stays_busy_is_one_sentence_and_no_result(store, monkeypatch):
    tracking.connect()
    held, final_model = [], manager.final_model
    with monkeypatch.context() as m:
        m.setattr(
            manager, "final_model", lambda *args: held.append(locked("mlflow.db")) or final_model(*args)
        )
        said_in_one_sentence(CliRunner().invoke(app, COMMAND), "database is locked")
    held[0].close()
    assert runs().empty and CliRunner().invoke(app, COMMAND).exit_code == 0 and len(runs()) == 1


@pytest.mark.slow
def test_a_server_that_goes_away_in_mid_run_is_one_sentence_and_no_result(store, monkeypatch):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"http://127.0.0.1:{(port := free_port())}")
    server, final_model = mlflow_server(store, port), manager.final_model

    def gone(*args):
        os.killpg(server.pid, signal.SIGKILL)
        server.wait()
        return final_model(*args)

    try:
        with monkeypatch.context() as m:
            m.setattr(manager, "final_model", gone)
            said_in_one_sentence(CliRunner().invoke(app, COMMAND), str(port))
        server = mlflow_server(store, port)
        assert (
            runs().empty
            and CliRunner().invoke(app, COMMAND).exit_code == 0
            and len(runs()) == 1
            and run(SMALL).cached
        )
    finally:
        os.killpg(server.pid, signal.SIGKILL)


# The key

CHOICES = dict(
    recipe=["standard", "seed"],
    backend=["numpy", "keras", "logistic", "sklearn_mlp"],
    plan=["cv:10", "cv:10x1@2026", "cv:5", "holdout"],
    hidden_layer_sizes=[(32, 16), [32, 16], 8, (8,)],
    activation=["relu", "tanh"],
    dropout=[0, 0.0, np.float64(0.2)],
    learning_rate=[1e-3, 0.001, 1],
    batch_size=[32, np.int64(32), 16],
    epochs=[100, 99],
    ensemble=[1, 2],
    early_stopping=[False, True],
    class_weight=[None, "balanced"],
    dtype=["float32", "float64"],
    rng=["fast", "keras"],
    seed=[0, 1],
    positive=[None, "1", "0"],
)
SEED_ONLY = {"recipe", "backend", "plan", "positive", "seed"}
HEARTS = {p: load("heart", positive=p) for p in CHOICES["positive"]}


def matters(config):
    "What of a configuration reaches the numbers, said independently of `key`"
    networks = set(CHOICES) if config.dropout else set(CHOICES) - {"rng"}  # which draws dropout only
    read = {"logistic": SEED_ONLY - {"seed"}, "sklearn_mlp": SEED_ONLY}.get(config.backend, networks)
    return {n: v for n, v in asdict(config).items() if n in read} | {
        "plan": parse_plan(config.plan),
        "positive": config.positive or "1",
    }


def test_a_server_that_speaks_a_byte_at_a_time_is_waited_for_ten_seconds(no_store, monkeypatch):
    def drip(listening):
        with listening.accept()[0] as visitor, suppress(OSError):
            for byte in b"HTTP/1.1 200 OK\r\nX: " + b"-" * 99:
                visitor.send(bytes([byte]))
                time.sleep(1)

    with socket.create_server(("127.0.0.1", 0)) as listening:
        threading.Thread(target=drip, args=[listening], daemon=True).start()
        monkeypatch.setenv("MLFLOW_TRACKING_URI", f"http://127.0.0.1:{listening.getsockname()[1]}")
        with pytest.raises(InputError, match="No MLflow server answers .*no answer within 10 s"):
            runs()


@settings(max_examples=200, deadline=None)
@given(
    st.fixed_dictionaries({n: st.sampled_from(v) for n, v in CHOICES.items()}),
    st.fixed_dictionaries({}, optional={n: st.sampled_from(v) for n, v in CHOICES.items()}),
)
def test_two_configurations_share_a_key_if_and_only_if_they_give_the_same_numbers(first, changes):
    a, b = Config(**first), Config(**{**first, **changes})
    assert (key_of(a, HEARTS[a.positive]) == key_of(b, HEARTS[b.positive])) == (matters(a) == matters(b))


words = st.text("abcdefghijklmnopqrstuvwxyzäß", min_size=3, max_size=8).map(lambda s: "v" + s)
tables = st.lists(
    st.tuples(
        st.one_of(st.none(), st.integers(-(10**6), 10**6)), st.floats(-1e9, 1e9), st.one_of(st.none(), words)
    ),
    min_size=6,
    max_size=20,
).map(
    lambda rows: pd.DataFrame(
        [(7, 0.5, "v"), (1, 1.5, "w"), *rows], columns=["whole", "real", "word"]
    ).assign(y=[i % 2 for i in range(len(rows) + 2)])
)


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(tables, st.data())
def test_the_key_knows_the_content_of_a_table_and_nothing_of_its_file(store, frame, data):
    (store / "deep").mkdir(exist_ok=True)
    frame.to_csv("lf.csv", index=False, lineterminator="\n")
    frame.to_csv("deep/crlf.csv", index=False, lineterminator="\r\n")
    frame.to_parquet("deep/as.parquet")
    key = lambda file: key_of(c := Config(data=file, target="y"), load(c.data, c.target))
    assert key("lf.csv") == key("deep/crlf.csv") == key("deep/as.parquet")
    row, column = (
        data.draw(st.integers(0, len(frame) - 1)),
        data.draw(st.sampled_from(["whole", "real", "word"])),
    )
    other = frame.copy()
    other.loc[row, column] = "other" if column == "word" else 0.25 if other.loc[row, column] != 0.25 else 0.75
    other.to_csv("other.csv", index=False)
    assert key("other.csv") != key("lf.csv")


def test_the_key_is_the_same_in_every_process():
    code = (
        "from mlp_bench.data import load; from mlp_bench.config import Config; from "
        "mlp_bench.evaluation import key; h = load('heart'); print(key(Config(), h), "
        "key(Config(backend='hist_gb', plan='cv:5'), h))"
    )
    told = [
        subprocess.run(
            [sys.executable, "-c", code],
            capture_output=True,
            text=True,
            env={**os.environ, "PYTHONHASHSEED": s},
        ).stdout
        for s in ("0",)
    ]
    heart = load("heart")
    assert told == [f"{key_of(Config(), heart)} {key_of(Config(backend='hist_gb', plan='cv:5'), heart)}\n"]
