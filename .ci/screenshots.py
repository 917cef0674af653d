"""The pictures of the dashboard in chapter 6 and on the front page: `python .ci/screenshots.py`.

They are taken of the real page in Chromium, with a store that is made for it.
"""

import os
import subprocess
import sys
import tempfile
from pathlib import Path

from playwright.sync_api import sync_playwright

ROOT = Path(__file__).resolve().parents[1]
IMAGES = ROOT / "nbs" / "images"
sys.path.insert(0, str(ROOT / "tests"))
from browser import FLAGS, chromium_path, dashboard, served  # noqa: E402
from servers import free_port  # noqa: E402

RUNS = """
from mlp_bench import preset, run_all
run_all([preset("tuned", ensemble=8), preset(backend="logistic"), preset(dropout=0.4)])
"""
DRAWN = "[...document.querySelectorAll('.plot path.line')].some(p => +p.dataset.points > 25)"


def part(page, title):
    return page.locator(".part").filter(has=page.get_by_role("heading", name=title, exact=True))


def shoot(what, name):
    what.screenshot(path=str(IMAGES / f"dashboard-{name}.png"))


def take(page):
    page.get_by_role("combobox", name="Model").select_option(label="NumPy and Keras")
    page.get_by_role("button", name="Train", exact=True).click()
    page.get_by_text("Keras, held out").first.wait_for(timeout=180_000)
    page.wait_for_function(DRAWN, timeout=120_000)
    shoot(page, "train")
    part(page, "Training").get_by_text("Errors of Keras").wait_for(timeout=300_000)
    page.get_by_role("tab", name="Compare").click()
    page.locator(".runs input[type=checkbox]").nth(0).check()
    page.get_by_text("ΔROC AUC").nth(1).wait_for()
    part(page, "Comparison").get_by_text("Errors of").nth(2).wait_for()
    page.add_style_tag(content=".mlp-bench .bar { position: static !important }")
    for title, name in (("Runs", "runs"), ("Comparison", "compare"), ("Clean up", "clean")):
        shoot(part(page, title), name)
    page.get_by_role("tab", name="Try a row").click()
    page.locator(".part .push").first.wait_for()
    shoot(part(page, "A row to try"), "row")


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as d, sync_playwright() as p:
        folder, port = Path(d, "visitor"), free_port()
        folder.mkdir()
        env = {k: v for k, v in os.environ.items() if k != "MLFLOW_TRACKING_URI"}
        subprocess.run([sys.executable, "-c", RUNS], cwd=folder, env=env, check=True)
        with served(dashboard(port), port, folder):
            browser = p.chromium.launch(executable_path=chromium_path(), args=FLAGS)
            page = browser.new_page(viewport={"width": 1200, "height": 860})
            page.goto(f"http://127.0.0.1:{port}/")
            page.get_by_role("button", name="Train", exact=True).wait_for(timeout=120_000)
            take(page)
            browser.close()
