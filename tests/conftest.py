import os
import shutil
import sqlite3
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
    "One process has the dashboard, which shares a server, and one loads TensorFlow for all that need it"
    from xdist.scheduler import LoadScopeScheduling  # pytest 9.2 ignores xdist's groups

    class Together(LoadScopeScheduling):
        def _split_scope(self, nodeid):
            for module in "dashboard", "report":  # whose tests share what took long to make
                if f"test_{module}.py" in nodeid:
                    return module
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


def use_copy(made, folder):
    "Put a store without runs into a folder"
    shutil.copy(made, folder)
    with closing(sqlite3.connect(folder / "mlflow.db")) as db, db:
        db.execute(
            "UPDATE experiments SET artifact_location = ? WHERE name = 'mlp_bench'",
            [(folder / "mlartifacts").as_uri()],
        )


@pytest.fixture
def store(no_store, made):
    "A store without runs in an otherwise empty working directory"
    use_copy(made, no_store)
    return no_store


@pytest.fixture(scope="module")
def shared_store(tmp_path_factory, made):
    "A store that the tests of a module share, in an otherwise empty working directory"
    folder = tmp_path_factory.mktemp("shared")
    use_copy(made, folder)
    with pytest.MonkeyPatch.context() as here:
        here.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{folder}/mlflow.db")
        here.chdir(folder)
        yield folder
