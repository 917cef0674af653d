"""A program that uses MLflow for its own purposes: our runs are ours, and what is its own stays as it was."""

import os
import subprocess
import sys

import numpy as np
import pytest
from forks import answer_of

import mlp_bench
from mlp_bench.config import Config
from mlp_bench.data import load

LOGISTIC = Config(plan="cv:2", backend="logistic")
KERAS = Config(plan="holdout", backend="keras", epochs=1, hidden_layer_sizes=(4,))
THEIRS = "something of their own"
UNTOUCHED = True, True, True, "FINISHED"


def _set_experiment(mlflow, run_id):
    mlflow.set_experiment("another of theirs")


def _active_run(mlflow, run_id):
    mlflow.start_run()
    mlflow.log_param("their", "own")


def _address_in_code(mlflow, run_id):
    mlflow.set_tracking_uri(f"sqlite:///{os.getcwd()}/elsewhere.db")


def _environment(mlflow, run_id):
    os.environ |= dict(MLFLOW_RUN_ID=run_id, MLFLOW_EXPERIMENT_ID="1")


def _autolog(mlflow, run_id):
    mlflow.autolog(silent=True)


def _autolog_keras(mlflow, run_id):
    import tensorflow  # noqa: F401  else its import would switch logging on, and that is a change

    _autolog(mlflow, run_id)


def _autolog_into_a_run(mlflow, run_id):
    mlflow.sklearn.autolog(silent=True)
    mlflow.start_run()


def _theirs(mlflow):
    "What a program sees of MLflow, our own experiment left aside"
    from mlflow.utils.autologging_utils import AUTOLOGGING_INTEGRATIONS

    client, active = mlflow.MlflowClient(), mlflow.active_run()
    stored = [
        (r.info.experiment_id, r.info.status, r.to_dictionary()["data"], client.list_artifacts(r.info.run_id))
        for e in client.search_experiments()
        if e.name != "mlp_bench"
        for r in client.search_runs([e.experiment_id])
    ]
    logging = {name: dict(config) for name, config in AUTOLOGGING_INTEGRATIONS.items()}
    uri, run_id = mlflow.get_tracking_uri(), active and active.info.run_id
    return stored, logging, uri, run_id, mlflow.get_active_model_id(), os.environ.get("MLFLOW_RUN_ID")


def _beside(folder, arrange, config):
    "Whether a run of ours changed what is theirs, what our store then has, and where their next run goes"
    os.chdir(folder)
    os.environ["MLFLOW_TRACKING_URI"] = f"sqlite:///{folder}/mlflow.db"
    import mlflow

    from mlp_bench.eda import audit
    from mlp_bench.manager import run
    from mlp_bench.tracking import runs

    mlflow.set_experiment(THEIRS)
    with mlflow.start_run() as first:
        mlflow.log_metric("their", 1)
    arrange(mlflow, first.info.run_id)
    before = _theirs(mlflow)
    made = run(config)
    audit(load("heart"))
    same = _theirs(mlflow) == before
    ours = list(runs().run_id) == [made.run_id] and made.oof.p.between(0, 1).all()
    return same, bool(ours), run(config).cached, mlflow.get_run(made.run_id).info.status


@pytest.mark.parametrize(
    "arrange",
    [_set_experiment, _active_run, _address_in_code, _environment, _autolog, _autolog_into_a_run],
    ids=lambda f: f.__name__.strip("_"),
)
def test_what_a_program_keeps_in_mlflow_stays_as_it_was(arrange, store):
    assert answer_of(_beside, str(store), arrange, LOGISTIC) == UNTOUCHED


def test_autologging_hears_nothing_of_our_keras(store):
    assert answer_of(_beside, str(store), _autolog_keras, KERAS, seconds=200) == UNTOUCHED


def _their_own_fit(folder):
    os.chdir(folder)
    os.environ["MLFLOW_TRACKING_URI"] = f"sqlite:///{folder}/mlflow.db"
    import mlflow
    from sklearn.linear_model import LogisticRegression

    from mlp_bench.manager import run

    mlflow.set_experiment(THEIRS)
    mlflow.sklearn.autolog(silent=True, log_models=False, log_datasets=False)
    run(LOGISTIC)
    LogisticRegression().fit(np.eye(4), [0, 1, 0, 1])
    return len(mlflow.search_runs())


def test_autologging_goes_on_after_our_run(store):
    assert answer_of(_their_own_fit, str(store)) == 1


@pytest.mark.parametrize("backend", ["numpy", "keras"])
def test_a_classifier_is_kept_by_mlflow_with_its_type_vouched_for(backend, tmp_path):
    import mlflow

    name = {"numpy": "estimators.NumpyMLPClassifier", "keras": "keras_mlp.KerasMLPClassifier"}[backend]
    X, y = np.random.default_rng(0).random((40, 3)), np.arange(40) % 2
    model = getattr(mlp_bench, name.partition(".")[2])(epochs=2, random_state=0).fit(X, y)
    types = dict(skops_trusted_types=[f"mlp_bench.{name}"], pip_requirements=["mlp_bench"])
    mlflow.sklearn.save_model(model, tmp_path / "kept", **types)
    again = mlflow.sklearn.load_model(tmp_path / "kept")
    assert np.array_equal(again.predict_proba(X), model.predict_proba(X))


def test_where_nobody_uses_mlflow_nothing_of_it_is_imported_to_measure():
    code = """if True:
        import sys
        from mlp_bench import Config, load
        from mlp_bench.manager import measure
        measure(Config(plan="cv:2", backend="majority"), load("heart"))
        print("mlflow" in sys.modules)
    """
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stdout == "False\n", done.stderr
