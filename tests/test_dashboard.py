"""The dashboard in a real browser: everything a person does there, and what must not happen to them."""

import http.client
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pandas as pd
import pytest
from browser import FLAGS, chromium_path, dashboard, leaves_this_machine, served
from servers import free_port

sync_api = (
    pytest.importorskip("playwright.sync_api")
    if not os.environ.get("CI")
    else __import__("playwright.sync_api").sync_api
)
expect = sync_api.expect
expect.set_options(timeout=40_000)  # the machine may be busy with other tests
SHOTS = os.environ.get("MLP_BENCH_SCREENSHOTS")  # a folder that receives pictures of every tab
HOSTILE = "<img src=x onerror=window.hurt=1>\"'&"

pytestmark = pytest.mark.timeout(600)


@pytest.fixture(scope="module")
def chromium():
    path = chromium_path()
    if not path and os.environ.get("CI"):
        pytest.fail("The browser test needs Chromium: apt-get install -y chromium")
    if not path:
        pytest.skip("no Chromium here")
    with sync_api.sync_playwright() as p:
        browser = p.chromium.launch(executable_path=path, args=FLAGS)
        yield browser
        browser.close()


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    "The real server, started from an empty folder with an empty store"
    folder, port = tmp_path_factory.mktemp("visitor"), free_port()
    with served(dashboard(port), port, folder) as server:
        yield f"http://127.0.0.1:{port}/", folder, server


@pytest.fixture
def visit(chromium, site):
    "Open the dashboard as a visitor; whatever asks another machine, or throws, is a failure"
    context, outside, errors = chromium.new_context(viewport={"width": 1360, "height": 900}), [], []

    def visit():
        page = context.new_page()
        page.sockets = []
        page.on("websocket", lambda w: page.sockets.append(w.url))
        page.on("request", lambda r: outside.append(r.url) if leaves_this_machine(r.url) else None)
        page.on("websocket", lambda w: outside.append(w.url) if leaves_this_machine(w.url) else None)
        page.on("pageerror", lambda e: errors.append(str(e)))
        page.goto(site[0])
        expect(button(page, "Train")).to_be_visible(timeout=120_000)
        return page

    yield visit
    context.close()
    assert outside == [] and errors == []


def button(page, name):
    return page.get_by_role("button", name=name, exact=True)


def tab(page, name):
    page.get_by_role("tab", name=name).click()


def write(page, **values):
    "Fill in inputs by their labels, as a person would"
    for label, value in values.items():
        box = page.locator("form.train").get_by_label(label.replace("_", " "), exact=True)
        if not box.is_visible():
            page.get_by_text("More settings").click()
        box.select_option(value) if box.evaluate("e => e.tagName") == "SELECT" else (
            box.fill(value),
            box.press("Tab"),
        )


def said(page):
    return page.locator(".now .status")


def rows(page):
    return page.locator(".runs tbody tr")


def train(page, expected="trained: ROC AUC", **values):
    "Press Train and wait for what the page says at the end"
    write(page, **values)
    button(page, "Train").click()
    expect(page.locator(".now")).to_contain_text(expected, timeout=240_000)


def drawn(page, where):
    return page.evaluate(
        "w => [...document.querySelectorAll(w + ' .plot path.line')].map(p => +p.dataset.points)", where
    )


def shoot(page, name):
    if not SHOTS:
        return
    page.mouse.move(0, 0)
    for theme, size in (("light", (1360, 900)), ("dark", (1360, 900)), ("phone", (390, 844))):
        page.set_viewport_size({"width": size[0], "height": size[1]})
        page.emulate_media(color_scheme="dark" if theme == "dark" else "light")
        page.screenshot(path=str(Path(SHOTS, f"{name}-{theme}.png")), full_page=True)
    page.set_viewport_size({"width": 1360, "height": 900})
    page.emulate_media(color_scheme="light")


def fits(page):
    return page.evaluate(
        "Math.max(document.documentElement.scrollWidth, document.body.scrollWidth) <= window.innerWidth"
    )


def serious(page):
    "What axe-core finds serious or worse"
    from axe_playwright_python.sync_playwright import Axe

    found = (
        Axe()
        .run(page, options={"runOnly": ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "best-practice"]})
        .response["violations"]
    )
    return [
        (v["id"], [n["html"][:200] for n in v["nodes"][:3]])
        for v in found
        if v["impact"] in ("serious", "critical")
    ]


# the tests of this file share one store and run in their order, like one person's afternoon; `conftest.py`
# keeps them together


def test_a_network_is_trained_before_the_visitors_eyes(visit, site):
    page = visit()
    assert page.title() == "mlp_bench"
    expect(page.get_by_text("not for clinical use").first).to_be_visible()
    assert page.get_by_text("Why folds are not independent").count() == 0  # the book stays behind
    expect(page.get_by_text("No runs yet")).to_be_visible()
    page.mouse.move(300, 300)
    write(page, Epochs="600", Plan="cv:5x1")
    button(page, "Train").click()
    page.wait_for_function(
        "[...document.querySelectorAll('.live .plot path.line')].some(p => +p.dataset.points > 3)",
        timeout=120_000,
    )
    first = drawn(page, ".live")
    page.wait_for_function(
        "n => [...document.querySelectorAll('.live .plot path.line')].some(p => +p.dataset.points > n)",
        arg=max(first),
        timeout=120_000,
    )  # it grows
    assert page.locator(".live path.band").count() >= 2  # training and held-out, each with its folds
    expect(said(page).first).to_contain_text("NumPy trained: ROC AUC", timeout=120_000)
    expect(rows(page)).to_have_count(1)
    auc = float(rows(page).locator("td[data-label='ROC AUC'] b").inner_text())
    assert 0.8 < auc < 0.97 and f"{auc:.4f}" in said(page).first.inner_text()
    assert (site[1] / "mlflow.db").exists()  # where the visitor started it
    shoot(page, "train")


def test_a_configuration_is_never_trained_twice(visit):
    page = visit()
    train(page, "already trained", Epochs="600", Plan="cv:5x1")
    expect(rows(page)).to_have_count(1)


def test_keras_is_announced_while_it_loads_and_trains_live(visit):
    page = visit()
    write(page, Model="keras", Epochs="20", Plan="cv:3x1")
    button(page, "Train").click()
    expect(said(page).first).to_contain_text("loading TensorFlow", timeout=120_000)
    page.wait_for_function(
        "[...document.querySelectorAll('.live .plot path.line')].some(p => +p.dataset.points > 2)",
        timeout=240_000,
    )
    expect(said(page).first).to_contain_text("Keras trained: ROC AUC", timeout=240_000)
    expect(rows(page)).to_have_count(2)


def test_stop_ends_the_training_and_keeps_nothing(visit, site):
    page = visit()
    write(page, Epochs="10000", Plan="cv:10x10")
    button(page, "Train").click()
    page.wait_for_function(
        "[...document.querySelectorAll('.live .plot path.line')].some(p => +p.dataset.points > 3)",
        timeout=120_000,
    )
    button(page, "Stop").click()
    expect(said(page).first).to_contain_text("Stopped: nothing of this run was kept")
    expect(rows(page)).to_have_count(2)
    train(page, "already trained", Epochs="600", Plan="cv:5x1")  # the page is ready for the next


@pytest.mark.slow
def test_stopping_the_second_of_two_keeps_the_first(visit):
    page = visit()
    write(page, Model="both", Epochs="6", Plan="cv:2x1", Seed="5")
    button(page, "Train").click()
    expect(said(page).first).to_contain_text("loading TensorFlow", timeout=120_000)
    button(page, "Stop").click()
    expect(said(page).first).to_contain_text("1 of 2 runs had ended and is kept")
    expect(rows(page)).to_have_count(3)
    tab(page, "Clean up")  # what was kept is the one that is chosen
    button(page, "Delete 1 run for good").click()
    expect(rows(page)).to_have_count(2, timeout=120_000)


def test_a_diverging_network_is_a_sentence_and_leaves_no_run(visit):
    page = visit()
    train(page, "learning_rate=10", Optimiser="sgd", Learning_rate="10", L2_penalty="10", Epochs="300")
    assert page.locator(".now [role=alert]").inner_text().startswith("the loss became")
    expect(rows(page)).to_have_count(2)


def test_runs_are_compared_starred_annotated_and_downloaded(visit):
    page = visit()
    train(page, Epochs="30", Plan="cv:5x1")
    tab(page, "Compare")
    expect(rows(page)).to_have_count(3)
    for box in page.locator(".runs input[type=checkbox]").all():
        box.uncheck()
    page.get_by_label("Filter").fill("cv:5x1 numpy")
    expect(rows(page)).to_have_count(2)
    for box in page.locator(".runs input[type=checkbox]").all():
        box.check()
    expect(page.locator(".verdict")).to_contain_text("ΔROC AUC")
    figures = page.locator("[aria-label=Comparison] .figures figure")
    expect(figures).to_have_count(5)
    lines = page.evaluate(
        "[...document.querySelectorAll('[aria-label=Comparison] .figures figure')].map(f => "
        "[...f.querySelectorAll('path.line, circle.point')].length)"
    )
    assert min(lines) >= 2 and min(drawn(page, "[aria-label=Comparison] .figures")) >= 10
    assert figures.first.locator("figcaption").inner_text().startswith("Area under the ROC curve")
    assert "epochs" in page.locator("tr.differs").inner_text()
    shoot(page, "compare")

    rows(page).first.get_by_role("button", name=re.compile("^Star")).click()
    rows(page).first.get_by_role("button", name=re.compile("note")).click()
    page.keyboard.type(f"مرحبا 🎉 {HOSTILE}")
    page.keyboard.press("Enter")
    expect(rows(page).first).to_contain_text("onerror")
    page.get_by_label("Starred only").check()
    expect(rows(page)).to_have_count(1)
    with page.expect_download() as csv:
        button(page, "Download CSV").click()
    frame = pd.read_csv(csv.value.path())
    assert len(frame) == 2 and any(HOSTILE in str(n) for n in frame.note)
    with page.expect_download(timeout=120_000) as html:
        button(page, "Download report").click()
    report = Path(html.value.path()).read_text()
    assert "ΔROC AUC" in report and "<script" not in report

    other = visit()  # MLflow keeps both for everyone
    expect(other.locator(".runs")).to_contain_text("🎉")
    expect(other.get_by_role("button", name=re.compile("^Star"), pressed=True)).to_have_count(1)
    assert other.evaluate("window.hurt") is None and other.locator("img[src=x]").count() == 0


@pytest.mark.slow
def test_a_note_in_the_making_survives_news_and_the_click_that_ends_it_counts(visit):
    page, other = visit(), visit()
    expect(rows(page)).to_have_count(3)
    notes = page.locator(".runs").get_by_role("button", name=re.compile("the note of"))
    notes.nth(2).click()
    page.keyboard.type("half a thou")
    stars = other.get_by_role("button", name=re.compile("^Star"))
    starred = other.get_by_role("button", name=re.compile("^Star"), pressed=True).count()
    stars.nth(1).click()  # somebody else's change comes in while the note is being written
    expect(page.get_by_role("button", name=re.compile("^Star"), pressed=True)).not_to_have_count(starred)
    page.keyboard.type("ght")
    assert page.locator(".note input").input_value() == "half a thought"
    page.get_by_role("button", name=re.compile("^Star")).nth(1).click()
    expect(page.get_by_role("button", name=re.compile("^Star"), pressed=True)).to_have_count(starred)
    expect(rows(page).nth(2)).to_contain_text("half a thought")
    assert page.evaluate("document.activeElement.className") == "star"  # the keyboard is where it was
    expect(other.locator(".runs")).to_contain_text("half a thought")
    rows(page).nth(2).get_by_role("button", name=re.compile("the note of")).click()
    page.keyboard.press("Control+A")
    page.keyboard.press("Delete")
    page.keyboard.press("Enter")
    expect(other.locator(".runs")).not_to_contain_text("half a thought")


def test_runs_are_sorted_by_any_metric_from_the_keyboard(visit):
    page = visit()
    head = page.locator("th").get_by_role("button", name="Log loss")
    head.focus()
    page.keyboard.press("Enter")
    losses = [float(t) for t in page.locator("td[data-label='Log loss'] b").all_inner_texts()]
    assert len(losses) == 3 and losses == sorted(losses)
    assert page.locator("th[aria-sort=ascending]").inner_text().startswith("Log loss")
    page.keyboard.press("Enter")
    assert [float(t) for t in page.locator("td[data-label='Log loss'] b").all_inner_texts()] == losses[::-1]


@pytest.mark.slow
def test_the_tabs_work_from_the_keyboard(visit):
    page = visit()
    page.get_by_role("tab", name="Train").focus()
    page.keyboard.press("ArrowRight")
    expect(page.get_by_role("tab", name="Compare")).to_be_focused()
    expect(page.get_by_role("tabpanel", name="Compare")).to_be_visible()
    assert page.evaluate("document.querySelectorAll('[role=tab][tabindex=\"0\"]').length") == 1


def test_one_row_is_answered_by_both_networks_while_it_is_changed(visit):
    page = visit()
    tab(page, "Patient / row")
    gauges = page.locator(".gauge .p")
    expect(gauges).to_have_count(2)
    panel = page.get_by_role("tabpanel", name="Patient / row")
    expect(panel.get_by_text("not for clinical use").first).to_be_visible()
    before = gauges.all_inner_texts()
    panel.get_by_label("ST_Slope").select_option("Up")
    expect(gauges.first).not_to_have_text(before[0])
    slider = panel.get_by_label("Oldpeak, slider")
    after = gauges.first.inner_text()
    slider.focus()
    for _ in range(6):
        page.keyboard.press("ArrowRight")
    expect(gauges.first).not_to_have_text(after)
    assert page.locator(".pushes tbody tr").count() == 22 and "%" in gauges.first.inner_text()
    shoot(page, "row")


def test_an_uploaded_table_with_a_hostile_header_is_trained_and_tried(visit, site, tmp_path):
    table = tmp_path / "my <b>shop 🎉.csv"
    pd.DataFrame(
        {HOSTILE: range(120), "=cmd()": ["ن", "<i>x</i>", "z"] * 40, "bought": ["yes", "no"] * 60}
    ).to_csv(table, index=False)
    page = visit()
    with page.expect_file_chooser() as chooser:
        button(page, "Upload a table …").click()
    chooser.value.set_files(table)
    expect(said(page).first).to_contain_text("120 rows, 3 columns")
    assert page.get_by_label("Target column").input_value() == "bought"
    train(page, Epochs="5", Plan="cv:3x1", Model="numpy")
    assert list((site[1] / "uploads").iterdir()) != [] and not list((site[1] / "uploads").glob("*.part"))
    tab(page, "Patient / row")
    expect(page.locator(".gauge .p")).to_have_count(1)
    expect(page.locator("label").filter(has_text="onerror").first).to_be_visible()
    assert page.evaluate("window.hurt") is None and page.locator("img[src=x]").count() == 0


@pytest.mark.slow
def test_a_file_too_large_is_refused_before_it_is_sent(visit, tmp_path):
    with open(tmp_path / "huge.csv", "wb") as f:
        f.truncate(200_000_000)
    page = visit()
    page.locator("input[type=file]").set_input_files(tmp_path / "huge.csv")
    expect(page.locator(".now [role=alert]")).to_contain_text("200.0 MB, and an upload may have 100.0 MB")


def test_wrong_input_is_a_sentence_and_loses_nothing(visit):
    page = visit()
    train(page, "as 32,16", Hidden_layers=HOSTILE)
    train(page, "Dropout: write a number from 0 to 0.99", Hidden_layers="8", Dropout="7")
    train(page, "nowhere.csv", Dropout="0.1", Data="nowhere.csv")
    assert page.get_by_label("Hidden layers").input_value() == "8" and page.evaluate("window.hurt") is None


@pytest.mark.slow
def test_two_visitors_train_at_once(visit):
    one, two = visit(), visit()
    for page, seed in ((one, "11"), (two, "12")):
        write(page, Epochs="40", Plan="cv:3x1", Seed=seed)
        button(page, "Train").click()
    for page in (one, two):
        expect(said(page).first).to_contain_text("NumPy trained", timeout=240_000)
    for page in (one, two):
        expect(page.locator(".runs")).to_contain_text("12")


@pytest.mark.slow
def test_nobody_is_shut_out(visit):
    page = visit()
    for name in ("Train", "Compare", "Patient / row", "Clean up"):
        tab(page, name)
        if name == "Patient / row":
            expect(page.locator(".gauge").first).to_be_visible(timeout=30_000)
        for scheme in ("light", "dark"):
            page.emulate_media(color_scheme=scheme)
            assert serious(page) == [], f"{name}, {scheme}"
        page.set_viewport_size({"width": 390, "height": 844})
        assert fits(page), f"{name} scrolls sideways on a phone"
        page.set_viewport_size({"width": 1360, "height": 900})
    names = page.evaluate(
        "[...document.querySelectorAll('.mlpb input, .mlpb select, .mlpb button')].filter(e => "
        "!(e.labels?.length || e.ariaLabel || e.textContent.trim())).map(e => e.outerHTML)"
    )
    assert names == []


def test_clean_up_shows_what_goes_and_deletes_only_that(visit):
    page = visit()
    tab(page, "Clean up")
    count = rows(page).count()
    box = page.locator(".runs input[type=checkbox]").first
    doomed = box.get_attribute("data-id")
    box.check()
    panel = page.locator("[aria-label='Clean up'].card")
    expect(panel).to_contain_text(doomed)
    assert re.search(r"\d+ files, 1 model, [\d.]+ (kB|MB)", panel.inner_text())
    shoot(page, "clean")
    button(page, "Delete 1 run for good").click()
    expect(panel).to_contain_text("Deleted 1 run", timeout=120_000)
    expect(rows(page)).to_have_count(count - 1)
    expect(page.locator(f"[data-id='{doomed}']")).to_have_count(0)


@pytest.mark.slow
def test_a_training_outlives_the_page_that_asked_for_it(visit):
    page = visit()
    write(page, Epochs="900", Plan="cv:10x1", Seed="77")
    button(page, "Train").click()
    page.wait_for_function(
        "[...document.querySelectorAll('.live .plot path.line')].some(p => +p.dataset.points > 3)",
        timeout=120_000,
    )
    page.close()
    other = visit()
    expect(other.locator(".runs")).to_contain_text("77", timeout=120_000)


@pytest.mark.slow
def test_a_dead_kernel_is_said_and_the_next_page_works(visit, site):
    page = visit()
    kernel = re.search("kernels/([^/]+)/channels", page.sockets[-1])[
        1
    ]  # of this page, and not the one that waits for the next visitor
    os.kill(
        int(
            subprocess.run(
                ["pgrep", "-f", f"kernel-{kernel}.json"], capture_output=True, text=True
            ).stdout.split()[0]
        ),
        signal.SIGKILL,
    )
    expect(page.get_by_text("has stopped answering")).to_be_visible(timeout=120_000)
    page.close()
    other = visit()
    assert rows(other).count() >= 3


def test_a_deleted_store_is_an_empty_table_and_training_goes_on(visit, site):
    page = visit()
    (site[1] / "mlflow.db").unlink()
    expect(page.get_by_text("No runs yet")).to_be_visible(timeout=20_000)
    train(page, Epochs="4", Plan="cv:2x1")
    expect(rows(page)).to_have_count(1)
    rows(page).first.get_by_role("button", name=re.compile("^Star")).click()
    expect(visit().get_by_role("button", name=re.compile("^Star"), pressed=True)).to_have_count(1)


@pytest.mark.slow
def test_idle_kernels_are_ended_but_neither_waiting_nor_watched_ones_nor_trainings(tmp_path, chromium):
    port = free_port()
    (tmp_path / "visitor").mkdir()
    with served(dashboard(port, idle=4), port, tmp_path / "visitor") as server:
        kernels = lambda: int(
            subprocess.run(
                ["pgrep", "-P", str(server.pid), "-fc", "ipykernel_launcher"], capture_output=True, text=True
            ).stdout
        )
        time.sleep(10)  # longer than the kernel that waits for the first visitor may be idle
        page = chromium.new_context().new_page()
        page.goto(f"http://127.0.0.1:{port}/")
        expect(button(page, "Train")).to_be_visible(timeout=120_000)
        page.wait_for_timeout(10_000)  # nobody does anything, and the page is there
        write(page, Epochs="700", Plan="cv:10x1")
        button(page, "Train").click()
        page.wait_for_function(
            "[...document.querySelectorAll('.live .plot path.line')].some(p => +p.dataset.points > 3)",
            timeout=120_000,
        )
        page.context.close()
        end = time.time() + 60
        while kernels() > 1 and time.time() < end:
            time.sleep(0.5)
        assert kernels() == 1  # the one that waits for the next visitor
        page = chromium.new_context().new_page()
        page.goto(f"http://127.0.0.1:{port}/")
        expect(rows(page)).to_have_count(1, timeout=120_000)
        page.context.close()


def test_only_who_knows_the_token_comes_in(tmp_path, chromium):
    port = free_port()
    command = [
        sys.executable,
        "-m",
        "mlp_bench.cli",
        "dashboard",
        "--port",
        str(port),
        "--token",
        "open sesame",
    ]
    (tmp_path / "visitor").mkdir()
    with served(
        [sys.executable, "-c", "from mlp_bench.cli import app; app()", *command[3:]],
        port,
        tmp_path / "visitor",
    ):
        assert "open%20sesame" in (tmp_path / f"server-{port}.log").read_text()
        for path in ("", "api/kernels", "api/contents", "voila/files/mlflow.db"):
            door = http.client.HTTPConnection("127.0.0.1", port)
            door.request("GET", f"/{path}")
            answer = door.getresponse()
            assert answer.status == 403 or (
                answer.status == 302 and answer.headers["Location"].startswith("/login")
            )
        page = chromium.new_context().new_page()
        page.goto(f"http://127.0.0.1:{port}/")
        assert page.get_by_role("button", name="Train", exact=True).count() == 0
        page.goto(f"http://127.0.0.1:{port}/?token=open%20sesame")
        expect(button(page, "Train")).to_be_visible(timeout=120_000)
        page.context.close()


def test_the_network_is_not_let_in_without_a_token(tmp_path):
    done = subprocess.run(
        [
            sys.executable,
            "-c",
            "from mlp_bench.cli import app; app()",
            "dashboard",
            "--host",
            "0.0.0.0",
            "--no-token",
        ],
        cwd=tmp_path,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 2 and "--no-token" in done.stderr and "Traceback" not in done.stderr


@pytest.mark.slow
def test_the_same_widget_works_in_jupyterlab(tmp_path, chromium):
    import nbformat

    notebook = nbformat.v4.new_notebook(
        cells=[
            nbformat.v4.new_code_cell(
                "from mlp_bench.workbench import dashboard\npage = dashboard()\ndisplay(page, page)"
            )
        ],
        metadata={"kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}},
    )
    (tmp_path / "lab").mkdir()
    nbformat.write(notebook, tmp_path / "lab" / "a.ipynb")
    port = free_port()
    command = [
        sys.executable,
        "-m",
        "jupyterlab",
        "--no-browser",
        f"--port={port}",
        "--IdentityProvider.token=",
        "--allow-root",
    ]
    with served(command, port, tmp_path / "lab"):
        page = chromium.new_context(viewport={"width": 1500, "height": 950}).new_page()
        page.goto(f"http://127.0.0.1:{port}/lab/tree/a.ipynb")
        expect(page.get_by_role("button", name="Python 3 (ipykernel) | Idle")).to_be_visible(timeout=90_000)
        page.locator(".jp-Notebook .cm-content").first.click(timeout=90_000)
        page.keyboard.press("Control+Enter")
        views = page.locator(
            "main.mlpb"
        )  # of one widget: each hears the other's answers, and what one begins the other shows
        for view in (views.nth(0), views.nth(1)):
            expect(button(view, "Train")).to_be_visible(timeout=90_000)
        train(views.nth(0), Epochs="5", Plan="cv:2x1")
        for view in (views.nth(0), views.nth(1)):
            expect(rows(view)).to_have_count(1)
        if SHOTS:
            page.screenshot(path=str(Path(SHOTS, "lab.png")))
        page.context.close()
