"""Servers that the tests start, on this machine only."""
import socket
import subprocess
import sys
import time
from urllib.request import urlopen


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def wait_for(url, seconds=120):
    end = time.time() + seconds
    while time.time() < end:
        try: return urlopen(url, timeout=5).close()
        except OSError: time.sleep(0.5)
    raise TimeoutError(url)


def mlflow_server(folder, port):
    "An MLflow server that answers; end it by its process group"
    server = subprocess.Popen([sys.executable, "-m", "mlflow", "server", "--port", str(port), "--backend-store-uri", f"sqlite:///{folder}/server.db",
                               "--artifacts-destination", str(folder / "files"), "--workers", "1"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True)
    wait_for(f"http://127.0.0.1:{port}/health")
    return server
