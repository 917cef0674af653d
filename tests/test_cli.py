"""The command line from outside.

Real processes for the main paths, in-process calls for the table of mistakes.
"""

import json
import os
import shutil
import signal
import socket
import sqlite3
import subprocess
import sys
from contextlib import closing, suppress
from pathlib import Path
from urllib.request import Request, urlopen

import numpy as np
import pandas as pd
import pytest
from forks import answer_of
from servers import free_port, mlflow_server, wait_for
from sklearn.datasets import load_breast_cancer
from typer.testing import CliRunner

from mlp_bench import evaluation
from mlp_bench.cli import app
from mlp_bench.data import load
from mlp_bench.config import Config, preset
from mlp_bench.manager import load_model, run
from mlp_bench.tracking import runs

QUICK = ["--plan", "cv:3", "--epochs", "5"]


def command(*args, **kwargs):
    return subprocess.run(
        [sys.executable, "-c", "from mlp_bench.cli import app; app()", *map(str, args)],
        capture_output=True,
        text=True,
        stdin=subprocess.DEVNULL,
        **kwargs,
    )


def invoke(*args, code=0, **kwargs):
    done = CliRunner().invoke(app, [*map(str, args)], **kwargs)
    assert done.exit_code == code, done.output
    return done


def results(path="out.json"):
    return json.loads(Path(path).read_text())


def _loaded(args, folder, store):
    os.chdir(folder)
    os.environ["MLFLOW_TRACKING_URI"] = store
    invoke(*args)
    return [name for name in ("tensorflow", "keras") if name in sys.modules]


def networks_loaded_by(args, folder):
    "What a command imports of TensorFlow and Keras in a process of its own"
    return answer_of(_loaded, args, folder, os.environ["MLFLOW_TRACKING_URI"])


def test_numpy_and_keras_from_one_command_then_from_the_cache(no_store):
    done = invoke("run", "--plan", "cv:2", "--epochs", "2", "--json", "out.json")
    assert "NumPy" in done.stdout and "Keras" in done.stdout and "not for clinical use" in done.stdout
    first = results()
    assert [r["backend"] for r in first["runs"]] == ["numpy", "keras"] and not any(
        r["cached"] for r in first["runs"]
    )
    same = ["run", "--plan", "cv:2", "--epochs", "2", "--json", "again.json"]
    assert networks_loaded_by(same, no_store) == [], "a cached run needs no TensorFlow"
    second = results("again.json")
    assert second["contrast"]["names"] == ["NumPy", "Keras"] and second["contrast"]["verdict"] in " ".join(
        done.stdout.split()
    )
    assert all(r.pop("cached") for r in second["runs"])
    for r in first["runs"]:
        r.pop("cached")
    assert first == second


def test_a_numpy_run_never_imports_tensorflow(store):
    assert networks_loaded_by(["run", "--backend", "numpy", "--plan", "cv:2", "--epochs", "1"], store) == []
    assert list(runs().backend) == ["numpy"]


def test_breast_cancer_with_string_labels_is_learnt(store):
    data = load_breast_cancer(as_frame=True)
    data.data.assign(diagnosis=np.where(data.target, "benign", "malignant")).to_csv("cancer.csv", index=False)
    invoke(
        "run",
        "cancer.csv",
        "--target",
        "diagnosis",
        "--backend",
        "numpy",
        "--plan",
        "cv:3",
        "--epochs",
        "40",
        "--json",
        "out.json",
    )
    out = results()
    assert out["dataset"]["classes"] == ["benign", "malignant"]
    assert out["runs"][0]["metrics"]["roc_auc"]["mean"] > 0.98


def test_help_cuts_no_sentence_and_shows_defaults_as_they_are_typed():
    ask = lambda *args: CliRunner().invoke(app, [*args, "--help"], env={"COLUMNS": "80"}).stdout
    told = ask().split("Commands:")[1].split("\n\n")[0].strip().splitlines()
    assert len(told) == len(app.registered_commands) and all(
        line.endswith(".") and not line.endswith("..") for line in told
    ), told
    for line in told:
        text = ask(line.split()[0])
        assert "[default: (" not in text and max(map(len, text.splitlines())) <= 80, text
    assert all("[default: auto]" in ask(command) for command in ("run", "sweep"))


def test_a_preset_sets_recipe_and_settings_and_options_win(store):
    invoke("run", "--backend", "numpy", "--preset", "tuned", *QUICK, "--dropout", "0.1", "--json", "out.json")
    wanted = preset("tuned", plan="cv:3", epochs=5, dropout=0.1)
    assert Config(**results()["runs"][0]["config"]) == wanted != Config(plan="cv:3", epochs=5, dropout=0.1)
    assert run(wanted).cached, "asked for in Python, it is the same run"
    assert load_model(results()["runs"][0]["run_id"]).predict(load("heart").X.head(3)).p.between(0, 1).all()


def test_without_a_preset_a_run_is_plain(store):
    for extra in [], ["--preset", "plain"]:
        CliRunner().invoke(app, ["run", "--backend", "numpy", *QUICK, *extra, "--json", "out.json"])
    plain = Config(plan="cv:3", epochs=5).for_task("binary")
    assert results()["runs"][0]["cached"] and Config(**results()["runs"][0]["config"]) == plain
    assert results()["dataset"]["classes"] == [0, 1], "labels in JSON keep their type"


def test_baselines_share_the_recipe_of_a_preset(store, no_pictures):
    invoke(
        "run",
        "--backend",
        "numpy",
        "--preset",
        "tuned",
        "--baselines",
        "--plan",
        "cv:2",
        "--epochs",
        "5",
        "--json",
        "out.json",
    )
    assert len(results()["runs"]) == len(evaluation.BACKENDS) - 1 and {
        r["config"]["recipe"] for r in results()["runs"]
    } == {"robust"}


def messy(n=300):
    rng = np.random.default_rng(0)
    signal_ = rng.normal(size=n)
    frame = pd.DataFrame(
        {
            "amount": signal_ * 100 + 500,
            "city": rng.choice(["Oslo", "Kyiv", "Lima"], n),
            "when": pd.date_range("2020-01-01", periods=n).astype(str),
            "same": "x",
            "vip": rng.random(n) < 0.5,
            "churn": np.where(signal_ + rng.normal(size=n) > 0, "yes", "no"),
        }
    )
    frame.loc[::7, "amount"] = np.nan
    frame.loc[::11, "city"] = None
    return frame


def test_a_messy_table_runs_and_predicts_unseen_categories(store):
    messy().to_csv("messy.csv", index=False)
    invoke(
        "run", "messy.csv", "--target", "churn", "--backend", "numpy", "--plan", "cv:3", "--json", "out.json"
    )
    assert 0.65 < results()["runs"][0]["metrics"]["roc_auc"]["mean"] < 0.95
    new = messy(4).drop(columns="churn").assign(city=["Atlantis", None, "Oslo", ""])
    new.to_csv("new.csv", index=False)
    invoke("predict", results()["runs"][0]["run_id"], "new.csv", "--out", "p.csv")
    p = pd.read_csv("p.csv")
    assert list(p.columns) == ["p", "label"] and p.p.between(0, 1).all() and set(p.label) <= {"yes", "no"}


@pytest.mark.slow
def test_mlflow_serves_what_predict_predicts(store):
    command("run", "--backend", "numpy", *QUICK, "--json", "out.json")
    run_id, raw = results()["runs"][0]["run_id"], load("heart").X.head(20)
    raw.to_csv("raw.csv", index=False)
    ours = pd.read_csv(__import__("io").StringIO(command("predict", run_id, "raw.csv").stdout))
    port = free_port()
    env = {**os.environ, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}
    server = subprocess.Popen(
        [
            sys.executable,
            "-m",
            "mlflow",
            "models",
            "serve",
            "-m",
            f"runs:/{run_id}/model",
            "--env-manager",
            "local",
            "-p",
            str(port),
        ],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        env=env,
        start_new_session=True,
    )
    try:
        wait_for(f"http://127.0.0.1:{port}/ping")
        body = json.dumps({"dataframe_split": raw.to_dict(orient="split")}).encode()
        answer = json.load(
            urlopen(
                Request(f"http://127.0.0.1:{port}/invocations", body, {"Content-Type": "application/json"}),
                timeout=30,
            )
        )
    finally:
        os.killpg(server.pid, signal.SIGTERM)
    served = pd.DataFrame(answer["predictions"])
    assert np.allclose(served.p, ours.p, atol=1e-12) and list(served.label) == list(ours.label)


def test_a_tracking_server_is_a_shared_cache(store, monkeypatch):
    server = mlflow_server(store, port := free_port())
    try:
        monkeypatch.setenv("MLFLOW_TRACKING_URI", f"http://127.0.0.1:{port}")
        invoke("run", "--backend", "numpy", *QUICK)
        (store / "elsewhere").mkdir()
        monkeypatch.chdir(store / "elsewhere")
        invoke("run", "--backend", "numpy", *QUICK, "--json", "out.json")
        assert results()["runs"][0]["cached"]
        found = json.load(
            urlopen(
                Request(
                    f"http://127.0.0.1:{port}/api/2.0/mlflow/runs/search",
                    json.dumps({"experiment_ids": ["1"]}).encode(),
                    {"Content-Type": "application/json"},
                )
            )
        )
        data = found["runs"][0]["data"]
        assert {"roc_auc", "log_loss", "brier", "accuracy", "loss"} <= {m["key"] for m in data["metrics"]}
        assert {"epochs", "learning_rate", "plan"} <= {p["key"] for p in data["params"]}
    finally:
        os.killpg(server.pid, signal.SIGTERM)


def table(text, name="t.csv"):
    Path(name).write_bytes(text if isinstance(text, bytes) else text.encode())
    return name


GOOD = "a,b,y\n" + "".join(f"{i},{'uv'[i % 2]},{'no' if i % 3 else 'yes'}\n" for i in range(60))

MISTAKES = {
    "missing file": (lambda: ["nowhere.csv", "--target", "y"], "nowhere.csv"),
    "empty file": (lambda: [table(""), "--target", "y"], "t.csv"),
    "not a CSV": (lambda: [table(b"\x00\x01\x02\xff" * 99), "--target", "y"], "t.csv"),
    "a directory": (lambda: [os.mkdir("d.csv") or "d.csv", "--target", "y"], "d.csv"),
    "encoding": (lambda: [table("a,y\nGrüße,1\n".encode("utf-16-le")), "--target", "y"], "t.csv"),
    "no target named": (lambda: [table(GOOD)], "target"),
    "target not there": (lambda: [table(GOOD), "--target", "z"], "z"),
    "one class": (lambda: [table("a,y\n1,0\n2,0\n"), "--target", "y"], "y"),
    "three classes for two": (
        lambda: [table("a,y\n1,0\n2,1\n3,2\n"), "--target", "y", "--task", "binary"],
        "exactly two are needed",
    ),
    "target with gaps": (lambda: [table("a,y\n1,0\n2,\n3,1\n"), "--target", "y"], "y"),
    "fewer rows than folds": (lambda: [table("a,y\n1,0\n2,1\n3,1\n"), "--target", "y"], "fold"),
    "an empty column": (lambda: [table("a,b,y\n1,,0\n2,,1\n"), "--target", "y"], "b"),
    "duplicate columns": (lambda: [table("a,a,y\n1,2,0\n2,3,1\n"), "--target", "y"], "a"),
    "infinite value": (lambda: [table("a,y\n1,0\ninf,1\n"), "--target", "y"], "a"),
    "positive label not there": (lambda: [table(GOOD), "--target", "y", "--positive", "maybe"], "maybe"),
    "unknown backend": (lambda: ["--backend", "torch"], "torch"),
    "a setting that a baseline never reads": (
        lambda: ["--backend", "majority", "--learning-rate", "nan"],
        "learning_rate",
    ),
    "layers that a baseline never reads": (
        lambda: ["--backend", "logistic", "--hidden-layer-sizes", "0"],
        "hidden_layer_sizes",
    ),
    "more epochs than memory": (
        lambda: ["--epochs", "2147483647"],
        "epochs must be a whole number from 1 to 10,000,000",
    ),
    "unknown recipe": (lambda: ["--recipe", "secret"], "secret"),
    "unknown preset": (lambda: ["--preset", "best"], "choose one of plain, tuned"),
    "unknown plan": (lambda: ["--plan", "loo"], "loo"),
    "groups without groups": (lambda: ["--plan", "groups"], "groups"),
    "unknown optimiser": (lambda: ["--optimizer", "adm"], "optimizer"),
    "unknown activation": (lambda: ["--activation", "swish"], "activation"),
    "no epochs": (lambda: ["--epochs", "0"], "epochs"),
    "negative learning rate": (lambda: ["--learning-rate", "-1"], "learning_rate"),
    "dropout of one": (lambda: ["--dropout", "1.0"], "dropout"),
    "batch of nothing": (lambda: ["--batch-size", "0"], "batch_size"),
    "layers": (lambda: ["--hidden-layer-sizes", "0,4"], "hidden_layer_sizes"),
    "layers as words": (lambda: ["--hidden-layer-sizes", "big"], "big"),
    "early stopping on a handful": (
        lambda: [
            table("a,y\n" + "".join(f"{i},{i % 2}\n" for i in range(12))),
            "--target",
            "y",
            "--plan",
            "cv:2",
            "--early-stopping",
        ],
        "validation_fraction",
    ),
    "holdout of four": (
        lambda: [table("a,y\n1,0\n2,0\n3,0\n4,1\n"), "--target", "y", "--plan", "holdout"],
        "holdout",
    ),
    "holdout of two": (lambda: [table("a,y\n1,0\n2,1\n"), "--target", "y", "--plan", "holdout"], "rows"),
    "results into a folder": (lambda: [os.mkdir("here") or "--json", "here"], "here"),
    "ensemble of none": (lambda: ["--ensemble", "0"], "ensemble"),
    "two ways to choose the weights": (lambda: ["--early-stopping", "--average-last", "0.5"], "average_last"),
    "results into a missing folder": (
        lambda: ["--backend", "numpy", "--plan", "cv:2", "--epochs", "1", "--json", "no/such/out.json"],
        "no/such/out.json",
    ),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_gets_one_sentence_and_leaves_nothing(mistake, no_store):
    arguments, named = MISTAKES[mistake]
    args = arguments()
    before = sorted(os.listdir(no_store))
    done = CliRunner().invoke(app, ["run", *args])
    assert done.exit_code == 2, done.output
    assert named in done.stderr and done.stderr.strip().count("\n") == 0 and "Traceback" not in done.output
    assert done.stdout == ""
    assert sorted(os.listdir(no_store)) == before


def test_a_server_that_does_not_answer_is_named_within_seconds(tmp_path):
    with socket.socket() as silent:  # accepts connections and never says a word
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        uri = f"http://127.0.0.1:{silent.getsockname()[1]}"
        done = command(
            "run",
            "--backend",
            "numpy",
            *QUICK,
            cwd=tmp_path,
            env={**os.environ, "MLFLOW_TRACKING_URI": uri},
            timeout=60,
        )
    assert done.returncode == 2 and uri in done.stderr and len(done.stderr.strip().splitlines()) == 1, (
        done.stderr
    )


@pytest.mark.skipif(
    not shutil.which("setpriv") and os.geteuid() == 0,
    reason="root writes anywhere, and there is no setpriv to stop it",
)
def test_a_folder_that_cannot_be_written_is_named(tmp_path):
    env = {k: v for k, v in os.environ.items() if k != "MLFLOW_TRACKING_URI"}
    drop = (
        ["setpriv", "--bounding-set", "-dac_override,-dac_read_search", "--inh-caps=-all"]
        if os.geteuid() == 0
        else []
    )
    tmp_path.chmod(0o555)
    done = subprocess.run(
        [
            *drop,
            sys.executable,
            "-c",
            "from mlp_bench.cli import app; app()",
            "run",
            "--backend",
            "numpy",
            *QUICK,
        ],
        cwd=tmp_path,
        env=env,
        capture_output=True,
        text=True,
    )
    assert (
        done.returncode == 2 and str(tmp_path) in done.stderr and len(done.stderr.strip().splitlines()) == 1
    ), done.stderr
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    "uri",
    ["foo://bar", "http://[bad", "mysql://127.0.0.1:1/x", "sqlite:///", "./mlruns", "HTTP://127.0.0.1:9"],
)
def test_a_store_that_cannot_be_opened_is_named(uri, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
    done = CliRunner().invoke(app, ["run", "--backend", "numpy", *QUICK])
    assert (
        done.exit_code == 2 and len(done.stderr.strip().splitlines()) == 1 and not list(tmp_path.iterdir())
    ), done.output


def test_asking_an_empty_folder_creates_no_store(tmp_path, monkeypatch):
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    monkeypatch.chdir(tmp_path)
    load("heart").X.to_csv("raw.csv", index=False)
    for args, code in (
        (["predict", "f" * 32, "raw.csv"], 2),
        (["contrast", "f" * 32, "e" * 32], 2),
        (["purge", "--run", "f" * 32, "--yes"], 2),
        (["purge", "--all", "--yes"], 0),
        (["rank"], 0),
    ):
        assert CliRunner().invoke(app, args).exit_code == code
    assert os.listdir() == ["raw.csv"]


def test_a_row_is_predicted_the_same_in_any_company(store):
    rng = np.random.default_rng(0)
    frame = pd.DataFrame(
        {
            "zip": rng.choice(["007", "012", "A1"], 200),
            "ok": rng.choice(["TRUE", "FALSE", "maybe"], 200),
            "x": rng.normal(size=200),
        }
    )
    frame.assign(y=(frame.zip == "007").astype(int)).to_csv("zips.csv", index=False)
    invoke("run", "zips.csv", "--target", "y", "--backend", "numpy", "--plan", "cv:2", "--json", "out.json")
    Path("alone.csv").write_text("zip,ok,x\n007,TRUE,0\n")
    Path("company.csv").write_text("zip,ok,x\n007,TRUE,0\nA1,maybe,1\n")
    alone, company = (
        pd.read_csv(
            __import__("io").StringIO(
                CliRunner().invoke(app, ["predict", results()["runs"][0]["run_id"], f]).stdout
            )
        )
        for f in ("alone.csv", "company.csv")
    )
    assert np.isclose(alone.p[0], company.p[0], atol=1e-12) and alone.p[0] > 0.5


def test_predictions_go_through_a_pipe_and_a_link_stays_a_link(store):
    CliRunner().invoke(app, ["run", "--backend", "numpy", *QUICK, "--json", "out.json"])
    run_id = results()["runs"][0]["run_id"]
    load("heart").X.head(2).to_csv("raw.csv", index=False)
    os.mkfifo("pipe")
    reader = subprocess.Popen(["cat", "pipe"], stdout=subprocess.PIPE, text=True)
    invoke("predict", run_id, "raw.csv", "--out", "pipe")
    assert reader.communicate(timeout=30)[0].startswith("p,label")
    Path("link.csv").symlink_to("real.csv")
    invoke("predict", run_id, "raw.csv", "--out", "link.csv")
    assert Path("link.csv").is_symlink() and Path("real.csv").read_text().startswith("p,label")


@pytest.mark.parametrize(
    "place, where",
    [
        ("-", ">> f"),
        ("/dev/stdout", "> f"),
        pytest.param("-", "> f", marks=pytest.mark.slow),
        pytest.param("-", "| cat > f", marks=pytest.mark.slow),
    ],
)
def test_json_on_stdout_comes_alone(place, where, store):
    run(Config(backend="majority", plan="cv:2"))
    Path("f").write_text("\n")
    program = f"{sys.executable} -c 'from mlp_bench.cli import main; main()'"
    done = subprocess.run(
        ["sh", "-c", f"{program} rank --json {place} {where}"], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert [r["backend"] for r in json.loads(Path("f").read_text())] == ["majority"]
    assert Path("f").read_text().startswith("\n[" if ">>" in where else "[") and "Majority" in done.stderr


@pytest.mark.parametrize("place, code", [("- | true", 0), ("- > /dev/full", 2), ("/dev/fd/9", 2)])
def test_an_open_place_that_takes_nothing_is_no_traceback(place, code, store):
    run(Config(backend="majority", plan="cv:2"))
    done = subprocess.run(
        [
            "sh",
            "-c",
            f"{sys.executable} -c 'from mlp_bench.cli import main; main()' rank --json {place}",
        ],
        capture_output=True,
        text=True,
    )
    assert done.returncode == code and len(done.stderr.splitlines()) == bool(code) and done.stdout == "", (
        done.stderr
    )


def test_no_result_takes_the_place_of_a_table_or_of_the_store(store):
    table(GOOD), os.symlink("t.csv", "link.csv"), os.symlink("mlflow.db", "link.db")
    invoke("run", "t.csv", "--target", "y", "--backend", "logistic", "--plan", "cv:2", "--json", "out.json")
    run_id, before = (
        results()["runs"][0]["run_id"],
        (Path("t.csv").read_bytes(), Path("mlflow.db").read_bytes()),
    )
    on_table = [
        [c, "t.csv", "--target", "y", o]
        for c, o in (("run", "--json"), ("sweep", "--json"), ("audit", "--json"), ("report", "--out"))
    ] + [["predict", run_id, "t.csv", "--out"]]
    wrong = [[*args, place] for args in on_table for place in ("t.csv", "./t.csv", "link.csv")]
    wrong += [
        ["rank", "--json", place]
        for place in (
            "mlflow.db",
            "link.db",
            "mlflow.db-wal",
            "mlartifacts/x.json",
            "mlartifacts/models/x.json",
        )
    ]
    for args in wrong:
        done = CliRunner().invoke(app, args)
        assert (
            done.exit_code == 2
            and args[-1] in done.stderr
            and done.stderr.strip().count("\n") == 0
            and done.stdout == ""
        ), done.output
    assert before == (Path("t.csv").read_bytes(), Path("mlflow.db").read_bytes())


@pytest.mark.parametrize(
    "place",
    [
        "x" * 300,
        "dangling",
        pytest.param(
            "/dev/full", marks=pytest.mark.skipif(not os.path.exists("/dev/full"), reason="there is none")
        ),
    ],
)
def test_a_place_that_takes_no_file_is_one_sentence(place, store):
    os.symlink("no/such/file", "dangling")
    done = CliRunner().invoke(app, ["audit", "heart", "--json", place])
    assert (
        done.exit_code == 2
        and (place in done.stderr or "space" in done.stderr)
        and done.stderr.strip().count("\n") == 0
        and "Traceback" not in done.output
    )
    assert sorted(p for p in os.listdir() if not p.startswith("mlflow.db")) == ["dangling"]


@pytest.mark.parametrize(
    "rest, code, said",
    [
        ("rank >/dev/full", 2, "space"),
        ("purge --all </dev/null", 2, "--yes"),
        ("rank | true", 0, ""),
    ],
)
def test_a_stream_that_is_full_or_closed_by_its_reader_is_no_traceback(rest, code, said, store):
    run(Config(backend="majority", plan="cv:2"))
    program = f"{sys.executable} -c 'from mlp_bench.cli import main; main()'"
    done = subprocess.run(["sh", "-c", f"{program} {rest}"], capture_output=True, text=True)
    assert done.returncode == code and said in done.stderr and len(done.stderr.splitlines()) == bool(said), (
        done.stderr
    )


def test_control_characters_of_a_table_do_not_reach_the_terminal(store):
    red, name = "\x1b[31mred", "a\x1b[2Jb.csv"
    pd.DataFrame(
        {"a\x9bx": range(60), "same": "x", "y": [red if i % 3 else "blue" for i in range(60)]}
    ).to_csv(name, index=False)
    for args in (
        ["run", name, "--target", "y", "--backend", "logistic", "--plan", "cv:2"],
        ["audit", name, "--target", "y"],
        ["rank"],
        ["run", name, "--target", "\x1b[0m"],
    ):
        done = CliRunner().invoke(app, args)
        assert done.exit_code in (0, 2) and not {"\x1b", "\x9b"} & set(done.output), done.output
    assert r"\x1b[31mred" in CliRunner().invoke(app, ["audit", name, "--target", "y"]).stdout


def on_a_terminal(*args):
    ours, theirs = os.openpty()
    done = subprocess.Popen(
        [sys.executable, "-c", "from mlp_bench.cli import main; main()", *args],
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        start_new_session=True,
    )
    os.close(theirs)
    shown = b""
    with suppress(OSError):  # the other end is closed
        while part := os.read(ours, 10_000):
            if b"Delete?" in (shown := shown + part):
                os.write(ours, b"n\n")
    os.close(ours)
    return done.wait(timeout=60), shown.decode().replace("\r\n", "\n")


def test_control_characters_of_labels_and_of_the_store_do_not_reach_the_terminal(store):
    red = "\x1b[31mred"
    pd.DataFrame({"a": range(60), "y": [red if i % 3 else "blue" for i in range(60)]}).to_csv(
        "t.csv", index=False
    )
    for backend in "logistic", "majority":
        run(Config(data="t.csv", target="y", positive=red, backend=backend, plan="cv:2"))
    first, second = (r.run_id for r in runs().itertuples())
    with closing(sqlite3.connect("mlflow.db")) as db, db:
        db.execute("UPDATE runs SET name = ?", [red])
        db.execute(
            'UPDATE tags SET value = replace(value, \'"recipe": "standard"\', ?) WHERE key = '
            "'mlp_bench.config' AND run_uuid = ?",
            [json.dumps({"recipe": red})[1:-1], first],
        )
    for args in (
        ["predict", first, "t.csv"],
        ["contrast", first, second],
        ["purge", "--all"],
    ):
        code, shown = on_a_terminal(*args)
        assert code == 0 and r"\x1b" in shown and red not in shown, shown
    assert f",{red}\n" in CliRunner().invoke(app, ["predict", first, "t.csv"]).stdout, (
        "a pipe gets the label itself"
    )


SETTINGS_THAT_DIFFER = [
    dict(learning_rate=0.01, dropout=0.0),
    dict(hidden_layer_sizes=(4, 2), epochs=3),
    dict(optimizer="adamw", weight_decay=0.1, label_smoothing=0.03, average_last=0.5, l2=0.01),
]


def test_run_sweep_and_rank_are_readable_on_narrow_screens(store, no_workers, no_pictures):
    small = ["--plan", "cv:2", "--epochs", "2"]
    grid = ["--hidden-layer-sizes", "4,4-2", "--dropout", "0,0.1", "--learning-rate", "0.01,0.001"]
    for settings in SETTINGS_THAT_DIFFER:
        run(Config(plan="cv:2", **settings))
    for width in 80, 100, 120:  # what the first has trained, the others find in the store

        def lines(*args):
            done = invoke(*args, env={"COLUMNS": str(width)})
            assert "…" not in done.stdout and max(map(len, done.stdout.splitlines())) <= width, done.stdout
            return done.stdout

        text = lines("run", "--backend", "numpy", "--baselines", *small)
        assert all(word in text for word in ("Logistic regression", "Gradient boosting", "Brier score"))
        text = lines("sweep", *grid, "--jobs", "1", *small)
        assert all(word in text for word in ("dropout", "learning", "ROC AUC", "4-2"))
        text = lines("rank", "--top", "99")
        assert all(run_id[:8] in text for run_id in runs().run_id)
        assert all(word in text for word in ("label_smoothing=0.03,", "NumPy", "ROC AUC")) or width > 100


def test_a_working_folder_that_was_deleted_is_one_sentence(tmp_path):
    (gone := tmp_path / "gone").mkdir()
    done = subprocess.run(
        ["sh", "-c", f"rmdir ../gone; {sys.executable} -P -c 'from mlp_bench.cli import main; main()' run"],
        capture_output=True,
        text=True,
        cwd=gone,
    )
    assert done.returncode == 2 and "No such file or directory" in done.stderr
    assert len(done.stderr.splitlines()) == 1, done.stderr


def test_predicting_names_what_is_missing(store):
    CliRunner().invoke(app, ["run", "--backend", "numpy", *QUICK, "--json", "out.json"])
    run_id = results()["runs"][0]["run_id"]
    load("heart").X.rename(columns={"Age": "age"}).to_csv("renamed.csv", index=False)
    for args, named in (
        ([run_id, "renamed.csv"], "Age"),
        (["f" * 32, "renamed.csv"], "f" * 32),
        ([run_id, "gone.csv"], "gone.csv"),
        (["../../etc", "renamed.csv"], "../../etc"),
    ):
        done = CliRunner().invoke(app, ["predict", *args])
        assert done.exit_code == 2 and named in done.stderr and done.stderr.strip().count("\n") == 0, (
            done.output
        )


def test_two_stored_runs_are_contrasted_by_the_first_digits_of_their_ids(store, no_pictures):
    for backend, plan in ("numpy", "cv:3"), ("logistic", "cv:3"), ("majority", "cv:2"):
        invoke("run", "--backend", backend, "--plan", plan, "--epochs", "3", "--json", f"{backend}.json")
    assert results("numpy.json")["contrast"] is None
    ids = [results(f"{b}.json")["runs"][0]["run_id"] for b in ("numpy", "logistic", "majority")]
    done = CliRunner().invoke(
        app,
        [
            "contrast",
            ids[0][:8],
            ids[1],
            "--metric",
            "average_precision",
            "--margin",
            "0.02",
            "--json",
            "told.json",
        ],
    )
    told = results("told.json")
    assert (
        done.exit_code == 0
        and told["verdict"] in done.stdout
        and (told["metric"], told["margin"], told["folds"]) == ("average_precision", 0.02, 3)
    )
    wrong = {
        "same folds": [ids[0], ids[2]],
        "beauty": [ids[0], ids[1], "--metric", "beauty"],
        "margin": [ids[0], ids[1], "--margin", "-1"],
        "f" * 32: [ids[0], "f" * 32],
        "no/such": [ids[0], ids[1], "--json", "no/such/x.json"],
    }
    for named, args in wrong.items():
        done = CliRunner().invoke(app, ["contrast", *args])
        assert (
            done.exit_code == 2
            and named in done.stderr
            and done.stderr.strip().count("\n") == 0
            and done.stdout == ""
        ), done.output


def test_purge_asks_and_deletes_only_what_was_named(store):
    for seed in (0, 1):
        CliRunner().invoke(
            app, ["run", "--backend", "numpy", *QUICK, "--seed", str(seed), "--json", f"{seed}.json"]
        )
    first, second = (results(f"{s}.json")["runs"][0]["run_id"] for s in (0, 1))
    assert CliRunner().invoke(app, ["purge", "--run", first]).exit_code == 2
    invoke("purge", "--run", first, "--yes")
    left = CliRunner().invoke(app, ["rank", "--json", "rank.json"])
    assert left.exit_code == 0 and [r["run_id"] for r in results("rank.json")] == [second]


def test_a_table_or_plan_that_no_run_has_is_answered_with_those_there_are(trained):
    assert "No run on hart; there are runs on heart." in invoke("rank", "--data", "hart", code=2).stderr
    assert "there are runs under cv:2x1@2026." in invoke("rank", "--plan", "cv:9", code=2).stderr
    assert "No runs yet" not in invoke("rank", "--data", "heart", "--plan", "cv:2").output


def test_without_any_run_a_filter_finds_an_empty_store(store):
    assert "No runs yet" in invoke("rank", "--data", "hart").stdout
