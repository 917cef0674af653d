import os
import shutil
import sqlite3
from concurrent.futures import Executor, Future
from contextlib import closing

import pytest

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("MPLBACKEND", "agg")
# One thread each: the test processes share the cores, and threads that wait for each other by spinning cost
# minutes.
for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "TF_NUM_INTRAOP_THREADS", "TF_NUM_INTEROP_THREADS"):
    os.environ.setdefault(name, "1")


def pytest_addoption(parser):
    parser.addoption("--slow", action="store_true", help="also run the long checks")


def pytest_collection_modifyitems(config, items):
    if config.getoption("--slow"):
        return
    for item in items:
        if "slow" in item.keywords:
            item.add_marker(pytest.mark.skip(reason="long: run with --slow"))


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config, log):
    "What took long to make or to import is shared: a server, TensorFlow, the checker of schemas"
    from xdist.scheduler import LoadScopeScheduling  # pytest 9.2 ignores xdist's groups

    class Together(LoadScopeScheduling):
        def _split_scope(self, nodeid):
            for module in "dashboard", "report", "encodings":
                if f"test_{module}.py" in nodeid:
                    return module
            if "_schema" in nodeid:
                return "schema"
            if "test_parity.py" in nodeid or "keras" in nodeid.partition("::")[2]:
                return "keras"
            return nodeid

    return Together(config, log)


@pytest.fixture
def no_store(tmp_path, monkeypatch):
    "An empty working directory, in which the first run makes a store"
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path}/mlflow.db")
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture(scope="session")
def made(tmp_path_factory):
    "The database of a store without runs: MLflow needs a second and more to make one, a copy takes none"
    from mlp_bench.tracking import connect

    folder = tmp_path_factory.mktemp("made")
    with pytest.MonkeyPatch.context() as here:
        here.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{folder}/mlflow.db")
        connect()
    return folder / "mlflow.db"


ADDRESSES = {"experiments": "artifact_location", "runs": "artifact_uri", "logged_models": "artifact_location"}


def copy_store(source, target):
    "A store in another folder as if it had been made there"
    shutil.copytree(source, target, dirs_exist_ok=True, ignore=shutil.ignore_patterns("*.lock*"))
    with closing(sqlite3.connect(target / "mlflow.db")) as db, db:
        for table, column in ADDRESSES.items():
            db.execute(
                f"UPDATE {table} SET {column} = replace({column}, ?, ?)", [source.as_uri(), target.as_uri()]
            )
    return target


@pytest.fixture
def store(no_store, made):
    "A store without runs in an otherwise empty working directory"
    return copy_store(made.parent, no_store)


class Here(Executor):
    "Does at once, in this process, what a pool of others would do in theirs"

    def __init__(self, *args, **options):
        pass

    def submit(self, function, *args):
        future = Future()
        future.set_result(function(*args))
        return future

    def shutdown(self, **options):
        pass


@pytest.fixture
def no_workers(monkeypatch):
    "A sweep of one job without its worker, which takes seconds to import what is here already"
    from mlp_bench import sweeps

    monkeypatch.setattr(sweeps, "ProcessPoolExecutor", Here)


def small_config(task):
    "A configuration that trains in no time, on heart or on a table that is written here"
    from sklearn.datasets import load_diabetes, load_iris

    from mlp_bench.config import Config

    quick = dict(plan="cv:2", epochs=1, hidden_layer_sizes=(4,))
    if task == "binary":
        return Config(**quick)
    frame = dict(multiclass=load_iris, regression=load_diabetes)[task](as_frame=True).frame
    frame.to_csv(f"{task}.csv", index=False)
    return Config(data=f"{task}.csv", target="target", **quick)


@pytest.fixture
def no_pictures(monkeypatch):
    "Runs without the figures that lie beside each in the store, for tests that train many and look at none"
    from mlp_bench import manager

    monkeypatch.setattr(manager, "stored_figures", lambda *args, **options: {})


@pytest.fixture(scope="session")
def trained_once(made, tmp_path_factory):
    "The folder of a store with three runs: a small network, the same with another seed, a regression"
    from mlp_bench.config import Config
    from mlp_bench.manager import run

    folder = copy_store(made.parent, tmp_path_factory.mktemp("trained"))
    small = dict(plan="cv:2", epochs=1, hidden_layer_sizes=(4,))
    with pytest.MonkeyPatch.context() as here:
        here.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{folder}/mlflow.db")
        for settings in small, small | dict(seed=1), dict(plan="cv:2", backend="logistic"):
            run(Config(**settings))
    return folder


@pytest.fixture
def trained(no_store, trained_once):
    "A store of one's own with these three runs"
    return copy_store(trained_once, no_store)


@pytest.fixture(scope="module")
def shared_store(tmp_path_factory, made):
    "A store that the tests of a module share, in an otherwise empty working directory"
    folder = tmp_path_factory.mktemp("shared")
    copy_store(made.parent, folder)
    with pytest.MonkeyPatch.context() as here:
        here.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{folder}/mlflow.db")
        here.chdir(folder)
        yield folder
