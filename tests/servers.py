"""Servers that the tests start, on this machine only."""

import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from contextlib import contextmanager
from pathlib import Path
from urllib.request import urlopen


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def wait_for(url, seconds=120):
    end = time.time() + seconds
    while time.time() < end:
        try:
            return urlopen(url, timeout=5).close()
        except OSError:
            time.sleep(0.5)
    raise TimeoutError(url)


def mlflow_server(folder, port, runs=None):
    "An MLflow server that answers, with runs in SQLite unless told otherwise; end it by its process group"
    server = subprocess.Popen(
        [
            sys.executable,
            "-m",
            "mlflow",
            "server",
            "--port",
            str(port),
            "--backend-store-uri",
            runs or f"sqlite:///{folder}/server.db",
            "--artifacts-destination",
            str(folder / "files"),
            "--workers",
            "2" if runs else "1",
        ],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
        env={**os.environ, "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"},  # nobody asks for any
    )
    wait_for(f"http://127.0.0.1:{port}/health")
    return server


POSTGRES = max(Path("/usr/lib/postgresql").glob("*/bin"), default=None)  # where Debian keeps it


@contextmanager
def postgres():
    "A PostgreSQL server; the address of a database on it"
    user = (
        {"user": "postgres", "group": "postgres", "extra_groups": []} if os.geteuid() == 0 else {}
    )  # it refuses to be root
    with tempfile.TemporaryDirectory() as d:
        if user:
            shutil.chown(d, "postgres", "postgres")
        subprocess.run(
            [POSTGRES / "initdb", "-D", f"{d}/data", "-A", "trust", "-U", "mlflow"],
            check=True,
            stdout=subprocess.DEVNULL,
            cwd="/",
            **user,
        )
        port = free_port()
        server = subprocess.Popen(
            [POSTGRES / "postgres", "-D", f"{d}/data", "-p", str(port), "-k", d, "-h", "127.0.0.1"],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            cwd="/",
            **user,
        )
        try:
            while subprocess.run(
                [POSTGRES / "pg_isready", "-q", "-h", "127.0.0.1", "-p", str(port)]
            ).returncode:
                time.sleep(0.2)
            yield f"postgresql+psycopg2://mlflow@127.0.0.1:{port}/postgres"
        finally:
            server.terminate()
            server.wait()
