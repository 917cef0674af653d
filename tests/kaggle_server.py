"""A server on this machine that answers as Kaggle does, for the real and unaltered kagglehub client.

    with KaggleServer({"heart.csv": raw}) as server:
        subprocess.run([...], env=server.environment(cache_folder))
        server.requests          # what was asked, in order

`server.behaviour` may be changed at any time: "ok", "hang" (accepts and never answers), "corrupt" (bytes that
contradict their checksum), "html" and "html once" (the log-in page of a captive portal), or a status such
as 404.
"""

import base64
import hashlib
import io
import json
import os
import threading
import zipfile
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

PAGE = b"<!DOCTYPE html><html><title>Please log in</title></html>"


def zipped(files):
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, raw in files.items():
            archive.writestr(name, raw)
    return buffer.getvalue()


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *args):
        pass

    def reply(self, status, body=b"", **headers):
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def note(self):
        """Record the request; True if it was dealt with because the server misbehaves."""
        kaggle = self.server.kaggle
        kaggle.requests.append(self.path.rsplit("/", 1)[-1])
        if kaggle.behaviour == "hang":
            kaggle.closing.wait(60)
        elif isinstance(kaggle.behaviour, int):
            self.reply(kaggle.behaviour, b'{"message": "as ordered"}', Content_Type="application/json")
        else:
            return False
        return True

    def do_POST(self):
        question = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        if self.note():
            return
        kaggle = self.server.kaggle
        if self.path.endswith("/GetDataset"):
            self.reply(
                200,
                json.dumps({"currentVersionNumber": kaggle.version}).encode(),
                Content_Type="application/json",
            )
        elif self.path.endswith("/DownloadDataset"):
            self.reply(302, Location=f"http://localhost/files/{question.get('fileName') or 'all.zip'}")
        else:
            self.reply(404, b"{}", Content_Type="application/json")

    def do_GET(self):
        if self.note():
            return
        kaggle, name = self.server.kaggle, self.path.rsplit("/", 1)[-1]
        if kaggle.behaviour.startswith("html"):
            if kaggle.behaviour == "html once":
                kaggle.behaviour = "ok"
            return self.reply(200, PAGE, Content_Type="text/html")
        raw = zipped(kaggle.files) if name == "all.zip" else kaggle.files.get(name)
        if raw is None:
            return self.reply(404, b"{}", Content_Type="application/json")
        md5 = base64.b64encode(hashlib.md5(raw).digest()).decode()
        if kaggle.behaviour == "corrupt":
            raw = bytes(byte ^ 1 for byte in raw)
        self.reply(
            200, raw, x_goog_hash=f"md5={md5}", Accept_Ranges="bytes", Content_Type="application/octet-stream"
        )


class KaggleServer:
    def __init__(self, files, version=1, behaviour="ok"):
        self.files, self.version, self.behaviour = files, version, behaviour
        self.requests, self.closing = [], threading.Event()
        self.http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.http.daemon_threads, self.http.block_on_close, self.http.kaggle = True, False, self
        self.url = f"http://127.0.0.1:{self.http.server_port}"

    def __enter__(self):
        threading.Thread(target=self.http.serve_forever, args=(0.05,), daemon=True).start()
        return self

    def __exit__(self, *error):
        self.closing.set()
        self.http.shutdown()
        self.http.server_close()

    def environment(self, home, **more):
        return kaggle_environment(home, self.url, **more)


def kaggle_environment(home, url, **more):
    """An environment in which kagglehub talks to `url` alone, its files under `home`."""
    home = Path(home)
    home.mkdir(parents=True, exist_ok=True)
    kept = {
        k: v for k, v in os.environ.items() if not k.lower().endswith("_proxy") and not k.startswith("KAGGLE")
    }
    return {
        **kept,
        "HOME": str(home),
        "KAGGLE_CONFIG_DIR": str(home),
        "KAGGLEHUB_CACHE": str(home / "cache"),
        "KAGGLE_API_ENVIRONMENT": "LOCALHOST",
        "http_proxy": url,
        "no_proxy": "",
        **more,
    }
