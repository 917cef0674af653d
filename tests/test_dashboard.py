"""The dashboard in a real browser: trained, found again, drawn and cleaned up, with nothing leaving this machine."""
import os
import shutil
import socket
import subprocess
import sys
import time
from pathlib import Path
from urllib.parse import urlsplit

import pytest

sync_api = pytest.importorskip("playwright.sync_api") if not os.environ.get("CI") else __import__("playwright.sync_api").sync_api
expect = sync_api.expect
SHOTS = os.environ.get("MLP_BENCH_SCREENSHOTS")
FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking", "--disable-component-update", "--disable-sync"]


@pytest.fixture(scope="module")
def chromium():
    path = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if not path and os.environ.get("CI"): pytest.fail("The browser test needs Chromium: apt-get install -y chromium")
    if not path: pytest.skip("no Chromium here")
    with sync_api.sync_playwright() as p:
        browser = p.chromium.launch(executable_path=path, args=FLAGS)
        yield browser
        browser.close()


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def wait_port(port, server, deadline=60):
    end = time.time() + deadline
    while time.time() < end and server.poll() is None:
        with socket.socket() as s:
            if s.connect_ex(("127.0.0.1", port)) == 0: return
        time.sleep(0.1)
    raise AssertionError("the dashboard's server did not start")


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    "The real server, started from an empty folder with an empty store"
    folder, port = tmp_path_factory.mktemp("visitor"), free_port()
    env = {k: v for k, v in os.environ.items() if k != "MLFLOW_TRACKING_URI"}
    code = "import subprocess, sys; from mlp_bench.compare import *; sys.exit(subprocess.call(serve_command({}), env=serve_environment()))".format(port)
    log = open(folder.parent / "server.log", "w")
    server = subprocess.Popen([sys.executable, "-c", code], cwd=folder, env=env, stdout=log, stderr=log, start_new_session=True)
    try:
        wait_port(port, server)
        yield f"http://127.0.0.1:{port}/", folder
    finally:
        os.killpg(server.pid, 15)
        server.wait(20)


@pytest.fixture
def visit(chromium, site):
    "Open the dashboard as a visitor; whatever asks another machine, or throws, is a failure"
    context, outside, errors = chromium.new_context(viewport={"width": 1280, "height": 900}), [], []

    def watch(request):
        url = urlsplit(request.url)
        if url.scheme in ("http", "https", "ws", "wss") and url.hostname not in ("127.0.0.1", "localhost"): outside.append(request.url)

    def visit():
        page = context.new_page()
        page.on("request", watch)
        page.on("websocket", watch)
        page.on("pageerror", lambda e: errors.append(str(e)))
        page.goto(site[0])
        expect(page.get_by_role("button", name="Train")).to_be_visible(timeout=60_000)
        return page

    yield visit
    context.close()
    assert outside == [] and errors == []


def shoot(page, name):
    if SHOTS: page.screenshot(path=str(Path(SHOTS, f"{name}.png")), full_page=True)


def status(page): return page.locator("[role=status], [role=alert]").last


def fits(page): return page.evaluate("Math.max(document.documentElement.scrollWidth, document.body.scrollWidth) <= window.innerWidth")


@pytest.mark.timeout(180)
def test_train_find_again_draw_and_clean_up(visit, site):
    page = visit()
    assert page.title() == "mlp_bench"
    expect(page.get_by_text("not for clinical use")).to_be_visible()
    assert page.get_by_text("Why folds are not independent").count() == 0  # the book stays behind
    expect(page.get_by_text("No runs yet")).to_be_visible()

    page.get_by_label("Epochs").fill("8")
    page.get_by_label("Epochs").press("Tab")
    page.get_by_role("button", name="Train").click()
    expect(status(page)).to_contain_text("NumPy trained: ROC AUC", timeout=60_000)
    rows = page.locator("table tbody tr")
    expect(rows).to_have_count(1)
    auc = float(rows.locator("td[data-label='ROC AUC']").inner_text())
    assert 0.8 < auc < 0.97 and f"{auc:.4f}" in status(page).inner_text()
    assert (site[1] / "mlflow.db").exists()  # where the visitor started it

    figures = page.locator(".figures figure")
    expect(figures).to_have_count(4)
    points = page.evaluate("[...document.querySelectorAll('.figures figure svg')].map(s => [...s.querySelectorAll('path')].reduce((n, p) => n + (p.getAttribute('d') || '').length, 0))")
    assert min(points) > 500
    assert all("aria-label" in f for f in page.evaluate("[...document.querySelectorAll('.figures svg')].map(s => s.outerHTML.slice(0, 600))"))
    assert page.locator(".figures figcaption").first.inner_text().startswith("Area under the ROC curve")

    page.get_by_role("button", name="Train").click()
    expect(status(page)).to_contain_text("found in the store", timeout=30_000)
    expect(rows).to_have_count(1)

    page.get_by_label("Hidden layers").fill("<img src=x onerror=alert(1)>")
    page.get_by_label("Hidden layers").press("Tab")
    page.get_by_role("button", name="Train").click()
    expect(status(page)).to_contain_text("<img src=x", timeout=30_000)
    assert page.locator("img[src=x]").count() == 0

    page.get_by_label("Hidden layers").fill("8")
    page.get_by_label("Hidden layers").press("Tab")
    page.get_by_role("button", name="Train").click()
    expect(rows).to_have_count(2, timeout=60_000)
    page.locator("select[multiple]").select_option(index=[0, 1])
    expect(page.locator(".verdict")).to_contain_text("ΔROC AUC")
    shoot(page, "desktop-light")
    page.emulate_media(color_scheme="dark")
    shoot(page, "desktop-dark")
    page.set_viewport_size({"width": 390, "height": 844})
    assert fits(page)
    shoot(page, "phone-dark")
    page.emulate_media(color_scheme="light")
    shoot(page, "phone-light")
    page.set_viewport_size({"width": 1280, "height": 900})

    page.locator("select[multiple]").select_option(index=[1])
    short = rows.nth(1).locator("code").inner_text()
    page.get_by_role("button", name="Delete the chosen runs").click()
    expect(page.locator(".mlpb-danger")).to_contain_text(short)
    shoot(page, "clean-up")
    page.get_by_role("button", name="Delete 1 for good").click()
    expect(status(page)).to_contain_text("Deleted 1 run", timeout=60_000)
    expect(rows).to_have_count(1)
    assert short not in rows.inner_text()


    other = visit()  # a second visitor sees what is there
    expect(other.locator("table tbody tr")).to_have_count(1, timeout=20_000)
