import os

import pytest

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
# One thread each: the test processes share the cores, and threads that wait for each other by spinning cost minutes.
for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "TF_NUM_INTRAOP_THREADS", "TF_NUM_INTEROP_THREADS"): os.environ.setdefault(name, "1")


def pytest_addoption(parser):
    parser.addoption("--slow", action="store_true", help="also run the long checks")


def pytest_collection_modifyitems(config, items):
    if config.getoption("--slow"): return
    for item in items:
        if "slow" in item.keywords: item.add_marker(pytest.mark.skip(reason="long: run with --slow"))


@pytest.fixture
def store(tmp_path, monkeypatch):
    "A fresh run store in an empty working directory"
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path}/mlflow.db")
    monkeypatch.chdir(tmp_path)
    return tmp_path
