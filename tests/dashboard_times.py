"""How fast the dashboard is, measured in a real browser:

`python tests/dashboard_times.py [--runs 5000] [--rounds 7]`.

First view (title, table and controls can be used) beside an empty Voilà page, in turns, both with a kernel
that waits; the first view of a server that was
just started; and how long a click takes to be answered with a store of thousands of runs.
"""

import argparse
import json
import statistics
import sys
import tempfile
import time
from pathlib import Path

import nbformat
from browser import FLAGS, chromium_path, dashboard, served
from playwright.sync_api import sync_playwright
from servers import free_port

sys.path.insert(0, str(Path(__file__).parent))
from big_store import make

READY = (
    "() => document.querySelector('.mlpb .button.primary')?.offsetHeight && "
    "document.querySelectorAll('.mlpb .runs tbody tr, .mlpb .empty').length"
)
EMPTY = "() => [...document.querySelectorAll('h1')].some(h => h.textContent === 'ready')"


def first_view(browser, url, ready):
    "Seconds until a fresh visitor sees the page, and the bytes that came"
    context, sizes = browser.new_context(viewport={"width": 1360, "height": 900}), []
    page = context.new_page()
    page.on("response", lambda r: sizes.append(int(r.headers.get("content-length") or 0)))
    start = time.perf_counter()
    page.goto(url, wait_until="commit")
    page.wait_for_function(ready, timeout=120_000)
    took = time.perf_counter() - start
    return took, sum(sizes), page


def clicks(page):
    "Seconds from each click until the page shows its answer"

    def timed(do, shown):
        start = time.perf_counter()
        do()
        page.wait_for_function(shown, timeout=30_000, polling=5)
        return time.perf_counter() - start

    page.get_by_role("tab", name="Compare").click()
    boxes = page.locator(".runs input[type=checkbox]")
    taken = {
        "tick one run": timed(
            lambda: boxes.nth(0).check(),
            "() => document.querySelectorAll('[aria-label=Comparison] figure').length >= 3",
        )
    }
    taken["tick a second"] = timed(lambda: boxes.nth(1).check(), "() => document.querySelector('.verdict')")
    taken["tick a third"] = timed(
        lambda: boxes.nth(2).check(),
        "() => document.querySelectorAll('.verdict').length == 2 || document.querySelector('.matrix "
        "thead').children.length == 4",
    )
    taken["sort by log loss"] = timed(
        lambda: page.locator("th button[data-key=sort-log_loss]").click(),
        "() => document.querySelector('th[aria-sort] button')?.dataset.key == 'sort-log_loss'",
    )
    taken["rank by accuracy"] = timed(
        lambda: page.get_by_label("Rank by").select_option("accuracy"),
        "() => document.querySelector('td b')?.parentElement.parentElement.dataset.label == 'Accuracy'",
    )
    taken["filter"] = timed(
        lambda: page.get_by_label("Filter").fill("logistic"),
        "() => /runs of/.test(document.querySelector('.runs').parentElement.textContent)",
    )
    taken["next page"] = timed(
        lambda: page.get_by_role("button", name="Next").click(),
        "() => /page 2/.test(document.querySelector('.pager').textContent)",
    )
    taken["star"] = timed(
        lambda: page.locator(".star").first.click(),
        "() => document.querySelector('.star').ariaPressed == 'true'",
    )
    taken["open Clean up"] = timed(
        lambda: page.get_by_role("tab", name="Clean up").click(), "() => document.querySelector('.danger')"
    )
    return taken


def empty_voila(port, folder):
    cell = nbformat.v4.new_code_cell("import ipywidgets\nipywidgets.HTML('<h1>ready</h1>')")
    nbformat.write(
        nbformat.v4.new_notebook(
            cells=[cell],
            metadata={"kernelspec": {"name": "python3", "display_name": "", "language": "python"}},
        ),
        folder / "empty.ipynb",
    )
    return [
        sys.executable,
        "-m",
        "voila",
        "empty.ipynb",
        f"--port={port}",
        "--no-browser",
        "--preheat_kernel=True",
    ]


def main(runs, rounds):
    root, found = Path(tempfile.mkdtemp()), {}
    for name in ("ours", "empty"):
        (root / name).mkdir()
    if runs:
        make(root / "ours" / "mlflow.db", runs)
    a, b = free_port(), free_port()
    with sync_playwright() as p:
        browser = p.chromium.launch(executable_path=chromium_path(), args=FLAGS)
        start = time.perf_counter()
        with served(dashboard(a), a, root / "ours"):
            found["server started and first page seen, cold, s"] = (
                round(time.perf_counter() - start, 2),
                round(first_view(browser, f"http://127.0.0.1:{a}/", READY)[0], 2),
            )
            with served(empty_voila(b, root / "empty"), b, root / "empty"):
                time.sleep(15)
                ours, empty = [], []
                for _ in range(rounds):
                    for url, ready, times in (
                        (f"http://127.0.0.1:{a}/", READY, ours),
                        (f"http://127.0.0.1:{b}/", EMPTY, empty),
                    ):
                        took, size, page = first_view(browser, url, ready)
                        times.append(took)
                        if times is ours:
                            found["page, MB"] = round(size / 1e6, 2)
                        page.context.close()
                        time.sleep(4)  # the next kernel is made ready
                found |= {
                    "first view, s": round(statistics.median(ours), 2),
                    "empty Voilà page, s": round(statistics.median(empty), 2),
                }
                found["ratio"] = round(found["first view, s"] / found["empty Voilà page, s"], 2)
            page = first_view(browser, f"http://127.0.0.1:{a}/", READY)[2]
            found[f"clicks with {runs} runs, ms"] = (
                {k: round(1e3 * v) for k, v in clicks(page).items()} if runs else None
            )
        browser.close()
    print(json.dumps(found, indent=1, ensure_ascii=False))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=5000)
    parser.add_argument("--rounds", type=int, default=7)
    main(**vars(parser.parse_args()))
