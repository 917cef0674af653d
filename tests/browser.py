"""Serving the dashboard to a real browser, for the tests and for `tests/dashboard_times.py`."""

import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from contextlib import contextmanager
from urllib.parse import urlsplit

FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]


def chromium_path():
    return next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)


def wait_port(port, server, deadline=90):
    end = time.time() + deadline
    while time.time() < end and server.poll() is None:
        with socket.socket() as s:
            if s.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.1)
    raise AssertionError("the server did not start")


@contextmanager
def served(command, port, folder, **environment):
    "A server process in a folder of its own; its log lies beside"
    env = {k: v for k, v in os.environ.items() if k != "MLFLOW_TRACKING_URI"} | environment
    with open(folder.parent / f"server-{port}.log", "w") as log:
        server = subprocess.Popen(
            command, cwd=folder, env=env, stdout=log, stderr=log, start_new_session=True
        )
        try:
            wait_port(port, server)
            yield server
        finally:
            os.killpg(server.pid, signal.SIGTERM)
            server.wait(20)


def dashboard(port, idle=600):
    "The command that serves the dashboard without a token, with the environment that belongs to it"
    return [
        sys.executable,
        "-c",
        "import os; from mlp_bench.comparison import *; "
        f"command = serve_command({port}, token=False, idle={idle}); os.execve(command[0], command, "
        "serve_environment())",
    ]


def leaves_this_machine(url):
    parts = urlsplit(url)
    return parts.scheme in ("http", "https", "ws", "wss") and parts.hostname not in ("127.0.0.1", "localhost")
