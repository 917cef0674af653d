"""Boosted trees from other libraries: baselines like the others, where they are installed."""

import importlib
import sys
import warnings

import pytest
from forks import answer_of

from mlp_bench.evaluation import key as key_of
from mlp_bench import evaluation
from mlp_bench.core import InputError
from mlp_bench.data import load
from mlp_bench.evaluation import BOOSTERS, check
from mlp_bench.config import Config
from mlp_bench.models import final_model, read_model, save_model
from mlp_bench.manager import load_model, run

INSTALLED = [name for name in BOOSTERS if name in evaluation.BACKENDS]


def test_lightgbm_is_among_them_so_that_this_file_tests_something():
    assert "lightgbm" in INSTALLED


@pytest.mark.parametrize("name", INSTALLED)
def test_a_stored_booster_gives_the_same_probabilities_and_no_pickle(name, tmp_path):
    heart = load("heart")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        model = final_model(Config(backend=name), heart)
        before = model.predict(heart.X)
        save_model(model, tmp_path)
        assert read_model(tmp_path).predict(heart.X).equals(before)
    assert {p.name for p in tmp_path.iterdir()} == {"config.json", "preprocess.skops", BOOSTERS[name][1]}
    assert not any(p.read_bytes().startswith(b"\x80") for p in tmp_path.iterdir())


@pytest.mark.parametrize("name", INSTALLED)
def test_a_booster_is_judged_stored_and_found_again(name, store, capfd):
    first = run(Config(backend=name, plan="cv:3"))
    again = run(Config(backend=name, plan="cv:3", epochs=7))  # it reads no setting of a network
    assert again.cached and again.run_id == first.run_id and first.metrics["roc_auc"] > 0.88
    ours = {"mlflow.db", "mlflow.db.lock", "mlflow.db.locks", "mlartifacts"}
    assert {p.name for p in store.iterdir()} == ours, "a library left files"
    assert capfd.readouterr().out == ""
    assert load_model(first.run_id).predict(load("heart").X).p.between(0, 1).all()
    (requirements,) = store.glob("mlartifacts/models/*/artifacts/requirements.txt")
    assert "boosters" in requirements.read_text()


@pytest.mark.parametrize("name", INSTALLED)
def test_the_same_seed_gives_the_same_bits(name):
    heart, config = load("heart"), Config(backend=name, seed=3)
    assert final_model(config, heart).predict(heart.X).equals(final_model(config, heart).predict(heart.X))


@pytest.mark.parametrize("name", BOOSTERS)
def test_a_missing_library_is_one_sentence_with_the_way_to_get_it(name, monkeypatch):
    monkeypatch.setitem(sys.modules, name, None)
    sentence = rf"{name} is needed as a baseline: pip install 'mlp_bench\[boosters\]'"
    with pytest.raises(InputError, match=sentence):
        check(Config(backend=name))


def offered_without_boosters():
    sys.modules |= dict.fromkeys(BOOSTERS)
    return list(importlib.reload(evaluation).BACKENDS)


def test_what_is_not_installed_is_not_offered():
    usual = ["numpy", "keras", "majority", "logistic", "sklearn_mlp", "hist_gb"]
    assert answer_of(offered_without_boosters) == usual


def test_the_key_names_the_version_of_the_library_that_computes_and_of_no_other(monkeypatch):
    heart, asked, version = load("heart"), [], evaluation.version
    keys = {b: key_of(Config(backend=b), heart) for b in ("lightgbm", "logistic")}

    def newer(name):
        asked.append(name)
        return "99" if name == "lightgbm" else version(name)

    monkeypatch.setattr(evaluation, "version", newer)
    assert key_of(Config(backend="logistic"), heart) == keys["logistic"] and asked == ["scikit-learn"]
    assert key_of(Config(backend="lightgbm"), heart) != keys["lightgbm"]
    assert asked[1:] == ["lightgbm", "scikit-learn"]


def test_a_library_that_does_not_load_is_one_sentence(monkeypatch):
    def broken(name):
        raise OSError("libgomp.so.1: cannot open shared object file")

    monkeypatch.setattr(evaluation, "import_module", broken)
    with pytest.raises(InputError, match="lightgbm is installed but cannot be loaded .libgomp"):
        check(Config(backend="lightgbm"))


@pytest.mark.parametrize("name", INSTALLED)
def test_a_seed_that_cannot_be_used_is_met_before_training(name):
    with pytest.raises(InputError, match="seed must be"):
        check(Config(backend=name, seed=-1))


def loaded_boosters():
    return [name for name in ("xgboost", "lightgbm", "catboost") if name in sys.modules]


def test_importing_the_manager_loads_no_booster():
    assert answer_of(loaded_boosters) == [], "the process that forks has imported the manager"
