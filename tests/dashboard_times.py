"""How fast the dashboard is, measured in a real browser:

`python tests/dashboard_times.py [--runs 5000] [--rounds 9] [--beside FOLDER]`.

In turns with an empty Voilà page, and with the page of a checkout of the first edition if one lies in a
folder: the first view, with an empty cache of the browser and with a full one, both with a kernel that waits;
the first view of a server that was just started. Then, in turns too, how long a click takes until it is
answered, how often a curve grows, how long a training takes to stop.
"""

import argparse
import json
import os
import re
import statistics
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from contextlib import ExitStack
from pathlib import Path

import nbformat
from browser import FLAGS, chromium_path, dashboard, served
from playwright.sync_api import sync_playwright
from servers import free_port

ROOT = Path(__file__).parents[1]


class Empty:
    "A Voilà page with one heading"

    ready = "() => [...document.querySelectorAll('h1')].some(h => h.textContent === 'ready')"

    def __init__(self, folder, runs):
        cell = nbformat.v4.new_code_cell("import ipywidgets\nipywidgets.HTML('<h1>ready</h1>')")
        kernel = {"name": "python3", "display_name": "", "language": "python"}
        notebook = nbformat.v4.new_notebook(cells=[cell], metadata={"kernelspec": kernel})
        nbformat.write(notebook, folder / "empty.ipynb")
        self.port, self.environment = free_port(), {}
        port = f"--port={self.port}"
        self.command = [sys.executable, "-m", "voila", "empty.ipynb", port, "--no-browser"]
        self.command.append("--preheat_kernel=True")


class Ours:
    "The page of this checkout"

    ready = (
        "() => document.querySelector('.mlp-bench .mod-primary')?.offsetHeight && "
        "document.querySelector('.mlp-bench .bar button, .mlp-bench .bar .widget-html') && "
        "/Rank|No runs yet/.test(document.querySelector('.runs')?.textContent)"
    )
    checkout = ROOT
    boxes = '.runs .row:not([style*="none"]) input[type=checkbox]'
    first = "() => document.querySelectorAll('.part figure').length >= 4"
    second = "() => [...document.querySelectorAll('.part p b')].some(b => /Δ|folds/.test(b.textContent))"
    row_tab, answered = "Try a row", "() => document.querySelector('.part h3')"
    stopped = "() => /Stopped/.test(document.querySelector('.bar [role=status]').textContent)"

    def __init__(self, folder, runs):
        self.port, self.environment = free_port(), {"PYTHONPATH": str(self.checkout)}
        self.command = self.server()
        if runs:  # each edition makes its own store
            maker = [
                sys.executable,
                self.checkout / "tests" / "big_store.py",
                folder / "mlflow.db",
                str(runs),
            ]
            subprocess.run(maker, check=True, env=os.environ | self.environment, stdout=subprocess.DEVNULL)

    def server(self):
        return dashboard(self.port)

    def box(self, page, label):
        return page.locator(".fields").get_by_label(re.compile(f"^{label}")).first


class First(Ours):
    "The page of the first edition"

    ready = (
        "() => document.querySelector('.mlpb .button.primary')?.offsetHeight && "
        "document.querySelectorAll('.mlpb .runs tbody tr, .mlpb .empty').length"
    )
    boxes = ".runs input[type=checkbox]"
    first = "() => document.querySelectorAll('[aria-label=Comparison] figure').length >= 3"
    second = "() => document.querySelector('.verdict')"
    row_tab, answered = "Patient / row", "() => document.querySelector('.gauge .p')"
    stopped = "() => /Stopped/.test(document.querySelector('.now .status').textContent)"

    def server(self):
        code = (
            "import os; from mlp_bench.workbench import *; "
            f"command = serve_command({self.port}, token=False); "
            "os.execve(command[0], command, serve_environment())"
        )
        return [sys.executable, "-c", code]

    def box(self, page, label):
        return page.locator("form.train").get_by_label(label, exact=True)


def view(context, kind):
    "Seconds until a visitor sees the page and can use it, the bytes that came, and the page"
    page, sizes = context.new_page(), []
    page.on("response", lambda r: sizes.append(int(r.headers.get("content-length") or 0)))
    start = time.perf_counter()
    page.goto(f"http://127.0.0.1:{kind.port}/", wait_until="commit", timeout=120_000)
    page.wait_for_function(kind.ready, timeout=120_000)
    return time.perf_counter() - start, sum(sizes), page


def visitor(browser):
    return browser.new_context(viewport={"width": 1360, "height": 900})


def first_views(browser, kind, found, pause):
    "With an empty cache and with a full one"
    context = visitor(browser)
    for cache in ("empty", "full"):
        took, size, page = view(context, kind)
        found[f"first view, {cache} cache, s"].append(took)
        found[f"first view, {cache} cache, MB"].append(size / 1e6)
        page.close()
        time.sleep(pause)  # the next kernel is made ready
    context.close()


def timed(page, do, shown):
    start = time.perf_counter()
    do()
    page.wait_for_function(shown, timeout=60_000, polling=5)
    return 1e3 * (time.perf_counter() - start)


COUNT_UPDATES = """() => {
  window.updates = 0
  const drawn = () => [...document.querySelectorAll('.plot path')].map(p => p.getAttribute('d')).join()
  let last = drawn()
  new MutationObserver(() => { if (drawn() != last) { last = drawn(); updates++ } })
    .observe(document.body, {subtree: true, childList: true, attributes: true})
}"""


def clicks(browser, kind, found):
    "Milliseconds from each click until the page shows its answer, and updates of the curve in a second"
    context = visitor(browser)
    page = view(context, kind)[2]
    page.wait_for_timeout(5000)  # what a page does when somebody comes
    page.get_by_role("tab", name="Compare").click()
    boxes = page.locator(kind.boxes)
    for box in boxes.all():
        box.uncheck()
    if boxes.count():
        found["choose a first run, ms"].append(timed(page, boxes.nth(0).check, kind.first))
        found["choose a second, ms"].append(timed(page, boxes.nth(1).check, kind.second))
        row = page.get_by_role("tab", name=kind.row_tab)
        found["a row's first answer, ms"].append(timed(page, row.click, kind.answered))
    page.get_by_role("tab", name="Train").click()
    for label, value in (("Epochs", "1000"), ("Plan", "cv:10x10")):
        kind.box(page, label).fill(value)
        kind.box(page, label).press("Tab")
    page.evaluate(COUNT_UPDATES)
    train = page.get_by_role("button", name="Train", exact=True)
    found["a curve's first points, ms"].append(timed(page, train.click, "() => updates > 1"))
    before = page.evaluate("updates")
    page.wait_for_timeout(5000)
    found["updates of a curve in a second"].append((page.evaluate("updates") - before) / 5)
    stop = page.get_by_role("button", name="Stop", exact=True)
    found["stop, ms"].append(timed(page, stop.click, kind.stopped))
    context.close()


def main(runs, rounds, beside, pause):
    kinds = [Empty, Ours]
    if beside:
        First.checkout = beside.absolute()
        kinds.append(First)
    root, found = Path(tempfile.mkdtemp()), {kind.__name__: defaultdict(list) for kind in kinds}
    for name in found:
        (root / name / "visitor").mkdir(parents=True)
    pages = [kind(root / kind.__name__ / "visitor", runs) for kind in kinds]
    with ExitStack() as stack:
        browser = stack.enter_context(sync_playwright()).chromium.launch(
            executable_path=chromium_path(), args=FLAGS
        )
        for kind in pages:  # one after another: each has the machine to itself
            name = type(kind).__name__
            start = time.perf_counter()
            stack.enter_context(served(kind.command, kind.port, root / name / "visitor", **kind.environment))
            found[name]["server started, s"].append(time.perf_counter() - start)
            context = visitor(browser)
            found[name]["first view at once after that, s"].append(view(context, kind)[0])
            context.close()
            time.sleep(2 * pause)
        for i in range(rounds):
            for kind in pages[i % len(pages) :] + pages[: i % len(pages)]:
                first_views(browser, kind, found[type(kind).__name__], pause)
        for _ in range(min(rounds, 3)):
            for kind in pages[1:]:
                clicks(browser, kind, found[type(kind).__name__])
                time.sleep(pause)
        browser.close()
    medians = {
        name: {what: round(statistics.median(values), 2) for what, values in times.items()}
        for name, times in found.items()
    }
    print(json.dumps({"runs": runs, "rounds": rounds} | medians, indent=1, ensure_ascii=False))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=5000)
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--beside", type=Path, help="a checkout of the first edition")
    parser.add_argument("--pause", type=float, default=6, help="seconds for the next kernel to be made ready")
    main(**vars(parser.parse_args()))
