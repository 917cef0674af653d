"""What the first edition promised and stored still holds: keys, digits, stores, served models, public names.

The folder first_edition has a store that it made, and what it said of it (`make.py` there tells how).
"""

import importlib
import importlib.metadata
import json
import re
import shutil
import socket
import sqlite3
import subprocess
import sys
import zipfile
from contextlib import closing
from pathlib import Path
from types import SimpleNamespace

import mlflow
import numpy as np
import pandas as pd
import pytest
from first_edition import make

import mlp_bench
from mlp_bench import evaluation  # whose names are the only ones here that are not the package's own
from mlp_bench.evaluation import evaluate, key as key_of

HERE = Path(__file__).resolve().parent
FIRST = HERE / "first_edition"
GOLDEN = json.loads((FIRST / "golden.json").read_text(encoding="utf-8"))
RUNS, MADE = GOLDEN["runs"], GOLDEN["made"]
LIBRARIES = {n: MADE["libraries"][n] for n in ("numpy", "scikit-learn", "keras", "tensorflow", "lightgbm")}
AS_BEFORE = [r for r in RUNS if r["config"]["plan"] != "holdout"]  # which is stratified now: another split
TRAINED_HERE = [r for r in AS_BEFORE if r["config"].get("backend") not in ("keras", "lightgbm")]
HOLDOUTS = [case for case in GOLDEN["keys"] if case["config"].get("plan") == "holdout"]
KEPT = [case for case in GOLDEN["keys"] if case not in HOLDOUTS]
STEPS = [
    "BinaryEncoder",
    "FrequencyEncoder",
    "HeartFeatures",
    "ClippedScaler",
    "SmoothScaler",
    "binary",
    "nominal",
]
DOTTED = ["mlp_bench.cleaning.Cleaner", *(f"mlp_bench.features.{name}" for name in STEPS)]
SERVING = "mlp_bench.manager.read_model"

version = importlib.metadata.version
EXACT = make.arithmetic() == MADE["arithmetic"] and version("scikit-learn") == LIBRARIES["scikit-learn"]


def same(values, golden, near=2e-3):
    "To twelve digits where processor and libraries compute as they did then, else as near as can be asked"
    values, golden = np.asarray(values, float), np.asarray(golden, float)
    np.testing.assert_allclose(values, golden, rtol=1e-12 if EXACT else 0, atol=1e-12 if EXACT else near)


def settings_of(case):
    return ", ".join(f"{k}={v}" for k, v in case["config"].items()) or "defaults"


@pytest.fixture(scope="session")
def unpacked(tmp_path_factory):
    "The store, its files and its table, as they were"

    def number(text):
        return [int(n) for n in text.split(".")[:2]]

    folder, then = tmp_path_factory.mktemp("first_edition"), MADE["libraries"]["mlflow"]
    if number(version("mlflow")) < number(then):
        pytest.skip("a newer MLflow made this store")
    with closing(sqlite3.connect(folder / "mlflow.db")) as db:
        db.executescript((FIRST / "mlflow.sql").read_text(encoding="utf-8"))
    with zipfile.ZipFile(FIRST / "mlartifacts.zip") as archive:
        archive.extractall(folder / "mlartifacts")
    shutil.copy(FIRST / "own.csv", folder)
    if version("mlflow") != then:
        upgrade = [sys.executable, "-m", "mlflow", "db", "upgrade", f"sqlite:///{folder}/mlflow.db"]
        subprocess.run(upgrade, check=True, capture_output=True)
    return folder


@pytest.fixture
def store(unpacked, tmp_path, monkeypatch):
    "A copy of it, moved from where it was made; the working directory holds the table"
    folder = shutil.copytree(unpacked, tmp_path / "moved")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{folder}/mlflow.db")
    monkeypatch.chdir(folder)
    return folder


@pytest.fixture
def at_first(monkeypatch):
    "Libraries of that time, for all who ask which are installed"
    ask = importlib.metadata.distribution
    known = {name: SimpleNamespace(version=number) for name, number in LIBRARIES.items()}
    monkeypatch.setattr(importlib.metadata, "distribution", lambda name: known.get(name) or ask(name))


@pytest.fixture
def without_keras(monkeypatch):
    for name in "tensorflow", "keras":
        monkeypatch.setitem(sys.modules, name, None)


def stored(run_id):
    "A run of the store, asked for by its configuration"
    settings = next(r["config"] for r in RUNS if r["run_id"] == run_id)
    return mlp_bench.run(make.config(settings))


def readable(r):
    "Whether the libraries that the model of a run needs can read what those of that time wrote"
    if r["config"].get("backend") == "lightgbm":
        pytest.importorskip("lightgbm")
    return r


def model_folders(store):  # run → its model's folder
    made = store.glob("mlartifacts/models/*/artifacts/MLmodel")
    return {re.search("^run_id: (.+)$", p.read_text(encoding="utf-8"), re.M)[1]: p.parent for p in made}


# ---- keys


@pytest.mark.parametrize("case", KEPT, ids=settings_of)
def test_a_configuration_keeps_its_key(case, at_first, monkeypatch):
    monkeypatch.chdir(FIRST)
    assert key_of(make.config(case["config"]), make.loaded(case["config"])) == case["key"]


@pytest.mark.parametrize("case", HOLDOUTS, ids=settings_of)
def test_a_holdout_has_another_key_since_it_is_stratified_and_for_no_other_reason(
    case, at_first, monkeypatch
):
    config, dataset = make.config(case["config"]), make.loaded(case["config"])
    assert key_of(config, dataset) != case["key"], "its rows are others, so no old run may answer for it"
    monkeypatch.setattr(evaluation, "PLAN_VERSIONS", {})
    assert key_of(config, dataset) == case["key"]


def test_a_key_names_the_libraries_that_compute(at_first, monkeypatch):
    monkeypatch.chdir(FIRST)
    heart, before = mlp_bench.load("heart"), importlib.metadata.distribution
    for backend, library in dict(numpy="numpy", keras="tensorflow", hist_gb="scikit-learn").items():
        config = mlp_bench.Config(backend=backend)
        old = key_of(config, heart)
        with monkeypatch.context() as newer:
            newer.setattr(
                importlib.metadata,
                "distribution",
                lambda name: SimpleNamespace(version="99") if name == library else before(name),
            )
            assert key_of(config, heart) != old


# ---- digits


def readme_scores():
    "Of each metric its mean and the ends of its interval, from the first table of README.md"
    readme = (HERE.parent / "README.md").read_text(encoding="utf-8")
    shown = re.search(r"^heart: 918 rows.+?^ +NumPy +(.+?)$\n(.+?)$", readme, re.S | re.M)
    intervals = re.findall(r"([\d.]+)–([\d.]+)", shown[2])
    return [[score, *ends] for score, ends in zip(shown[1].split(), intervals)]


def test_the_scores_that_readme_shows_come_out_again(store):
    told = mlp_bench.compare("heart", backends=("numpy",), progress=False)
    row, metrics = told.table.iloc[0], ("accuracy", "roc_auc", "log_loss", "brier")
    golden, shown = GOLDEN["default"], readme_scores()
    same([told.runs[0].metrics[m] for m in golden], list(golden.values()), near=0.01)
    again = [[f"{row[m + end]:.3f}" for end in ("", "_lo", "_hi")] for m in metrics]
    assert len(shown) == 4
    if EXACT:
        assert again == shown
    else:
        np.testing.assert_allclose(np.array(again, float), np.array(shown, float), atol=0.01)


@pytest.mark.parametrize("r", TRAINED_HERE, ids=settings_of)
def test_training_again_gives_the_stored_folds_and_predictions(r, unpacked, monkeypatch):
    if not EXACT and r["config"].get("backend"):
        pytest.skip("a baseline of another scikit-learn")
    monkeypatch.chdir(unpacked)
    folds, oof, curve = evaluate(make.config(r["config"]), make.loaded(r["config"]))
    then = unpacked / "mlartifacts" / r["run_id"] / "artifacts"
    before, predicted = pd.read_parquet(then / "folds.parquet"), pd.read_parquet(then / "oof.parquet")
    timed = ["fit_seconds", "predict_us_per_row"]
    assert list(folds) == list(before) and list(oof) == list(predicted)
    pd.testing.assert_frame_equal(oof.drop(columns="p"), predicted.drop(columns="p"))
    same(oof.p, predicted.p)
    same(folds.drop(columns=timed), before.drop(columns=timed))
    same(curve, r["curve"])


@pytest.mark.parametrize("what", ["out_of_fold", "networks", "fleet"])
def test_networks_of_all_kinds_say_the_same(what):
    same(getattr(make, what)(), GOLDEN[what])


# ---- the store


def test_a_moved_store_lists_its_runs(store):
    found = mlp_bench.runs()
    assert [column for column in found if column in GOLDEN["columns"]] == GOLDEN["columns"]
    assert list(found.run_id) == [r["run_id"] for r in reversed(RUNS)], "newest first, and no unfinished one"
    found = found.set_index("run_id")
    for r in RUNS:
        row, settings = found.loc[r["run_id"]], r["config"] | dict(hidden_layer_sizes=(8,))
        assert row.key == r["key"] and {n: row[n] for n in settings} == settings
        np.testing.assert_array_equal([row[m] for m in r["metrics"]], list(r["metrics"].values()))
    starred = RUNS[1]["run_id"]
    assert list(found.index[found.star]) == [starred] and found.note[starred] == "two of them – averaged"


@pytest.mark.parametrize("metric", GOLDEN["ranks"])
def test_its_runs_are_ranked_as_before(metric, store):
    ranked = mlp_bench.rank(metric)
    assert ranked[["run_id", "rank", "dataset", "plan", "backend"]].values.tolist() == GOLDEN["ranks"][metric]


def test_its_runs_are_contrasted_as_before(store, at_first):
    run = {i: stored(i) for c in GOLDEN["contrasts"] for i in (c["a"], c["b"])}
    for golden in GOLDEN["contrasts"]:
        found = mlp_bench.contrast(run[golden["a"]], run[golden["b"]], golden["metric"], margin=0.01)
        for fact in golden.keys() - {"a", "b", "metric"}:
            about = f"{fact}: {golden}"
            np.testing.assert_allclose(getattr(found, fact), golden[fact], rtol=1e-9, err_msg=about)


def test_a_stored_configuration_is_answered_from_the_store(store, at_first):
    before = mlp_bench.runs()
    for r in AS_BEFORE:
        if r["config"].get("backend") == "lightgbm":
            continue  # which may not be installed
        found = mlp_bench.run(make.config(r["config"]))
        assert found.cached and (found.run_id, found.key) == (r["run_id"], r["key"])
        assert found.metrics == pytest.approx(r["metrics"], rel=0, abs=0, nan_ok=True)
        np.testing.assert_array_equal(found.curve, r["curve"])
        assert found.config == make.config(r["config"]) and len(found.oof) and len(found.folds)
    assert mlp_bench.runs().equals(before)


def test_an_unstratified_holdout_is_listed_and_answers_for_no_new_one(store, at_first):
    (old,) = [r for r in RUNS if r not in AS_BEFORE]
    new = mlp_bench.run(make.config(old["config"]))
    assert not new.cached and {old["run_id"], new.run_id} <= set(mlp_bench.runs().run_id)


def test_its_models_predict_as_before(store, without_keras):
    for r in map(readable, RUNS):
        said = mlp_bench.load_model(r["run_id"][:8]).predict(make.rows(make.loaded(r["config"])))
        np.testing.assert_allclose(said.p, r["p"], atol=1e-6, err_msg=settings_of(r))
        assert said.label.tolist() == r["label"]


def test_its_models_are_served_as_before(store, without_keras):
    folders = model_folders(store)
    assert set(folders) == {r["run_id"] for r in RUNS}
    for r in map(readable, RUNS):
        served = mlflow.pyfunc.load_model(str(folders[r["run_id"]]))
        said = served.predict(make.rows(make.loaded(r["config"])))
        np.testing.assert_allclose(said.p, r["p"], atol=1e-6, err_msg=settings_of(r))
        assert said.label.tolist() == r["label"]


def test_names_that_stored_files_call_by_their_place_are_still_there(unpacked):
    for name in [*DOTTED, SERVING]:
        module, _, own = name.rpartition(".")
        assert callable(getattr(importlib.import_module(module), own)), name
    modules, named = {name.rpartition(".")[0] for name in DOTTED}, set()
    for file in unpacked.rglob("*.skops"):
        with zipfile.ZipFile(file) as archive:
            schema = archive.read("schema.json").decode()
        named |= {name for name in DOTTED if name.rpartition(".")[2] in schema}
        assert set(re.findall(r'"(mlp_bench[\w.]+)"', schema)) <= modules, file
    assert named == set(DOTTED), "the store has an example of each"
    served = {file.read_text(encoding="utf-8") for file in unpacked.rglob("serve.py")}
    assert len(served) == 1 and f"from {SERVING.rpartition('.')[0]} import read_model" in served.pop()


def test_its_broken_runs_are_purged_and_no_other(store, monkeypatch):
    with closing(sqlite3.connect(store / "mlflow.db")) as db:
        ended = dict(db.execute("SELECT status, run_uuid FROM runs"))
    failed, cut = ended["FAILED"], ended["RUNNING"]
    assert mlp_bench.purge(broken=True) == [failed], "nobody here can know whether the other one still runs"
    monkeypatch.setattr(socket, "gethostname", lambda: "host")
    assert mlp_bench.purge(broken=True) == [cut], "on its own machine that can be known"
    assert mlp_bench.purge(broken=True) == [] and len(mlp_bench.runs()) == len(RUNS)


def test_a_purge_removes_the_files_of_a_run_and_no_other(store):
    gone, kept = RUNS[3]["run_id"], [r["run_id"] for r in RUNS if r != RUNS[3]]
    folders = model_folders(store)
    own = [store / "mlartifacts" / gone, folders[gone].parent]
    files = [p for p in (store / "mlartifacts").rglob("*") if p.is_file()]
    others = [p for p in files if not any(p.is_relative_to(o) for o in own)]
    assert mlp_bench.purge([gone[:8]]) == [gone]
    assert not any(p.exists() for p in own) and all(p.exists() for p in others)
    assert sorted(mlp_bench.runs().run_id) == sorted(kept)
    assert set(model_folders(store)) == set(kept)


# ---- names


def test_public_names_can_be_imported():
    from mlp_bench import Cleaner, Config, Fleet, KerasMLPClassifier, NumpyMLPClassifier, TextbookMLP
    from mlp_bench import audit, compare, contrast, dashboard, fit_fleet, load, load_model, preset, purge
    from mlp_bench import rank, recipe, report, run, runs, sweep

    classes = [Cleaner, Config, Fleet, KerasMLPClassifier, NumpyMLPClassifier, TextbookMLP]
    functions = [
        audit,
        compare,
        contrast,
        dashboard,
        fit_fleet,
        load,
        load_model,
        preset,
        purge,
        rank,
        recipe,
        report,
        run,
        runs,
        sweep,
    ]
    assert all(isinstance(c, type) for c in classes) and all(map(callable, functions))


def test_public_names_are_what_they_were_even_after_every_module_has_been_imported():
    code = "import json; from first_edition import make; print(json.dumps(make.public_names()))"
    asked = subprocess.run([sys.executable, "-c", code], cwd=HERE, capture_output=True, text=True)
    assert asked.returncode == 0, asked.stderr
    found, golden = json.loads(asked.stdout), GOLDEN["names"]
    assert set(golden) <= set(found), "`compare` is something that can be called, and no more is said of it"
    for name in golden.keys() - {"compare"}:
        known = len(golden[name])  # parameters that came later stand behind those
        sizes = {"hidden_layer_sizes='auto'": "hidden_layer_sizes=(32, 16)"}  # which it means where they were
        assert [sizes.get(parameter, parameter) for parameter in found[name][:known]] == golden[name], name
