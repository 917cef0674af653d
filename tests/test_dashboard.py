"""The dashboard in a real browser: everything a person does there, and what must not happen to them."""

import http.client
import os
import re
import signal
import sqlite3
import subprocess
import sys
import time
from contextlib import closing
from pathlib import Path
from urllib.parse import quote

import numpy as np
import pandas as pd
import pytest
from big_store import Original
from browser import FLAGS, chromium_path, dashboard, leaves_this_machine, served
from servers import free_port

from mlp_bench.comparison import COLUMNS
from mlp_bench.config import SETTINGS, Config
from mlp_bench.data import load
from mlp_bench.evaluation import key

sync_api = (
    pytest.importorskip("playwright.sync_api")
    if not os.environ.get("CI")
    else __import__("playwright.sync_api").sync_api
)
expect = sync_api.expect
expect.set_options(timeout=40_000)  # the machine may be busy with other tests
SHOTS = os.environ.get("MLP_BENCH_SCREENSHOTS")  # a folder that receives pictures of every tab
HOSTILE = "<img src=x onerror=window.hurt=1>\"'&"
TOKEN = "open sesame"
CURVES = "[...document.querySelectorAll('.plot path.line')].filter(p => !p.dataset.old)"
GROWN = f"n => {CURVES}.some(p => +p.dataset.points > n)"

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
    "The real server, started by its command from an empty folder with an empty store; it asks for a token"
    folder, port = tmp_path_factory.mktemp("visitor"), free_port()
    command = [sys.executable, "-c", "from mlp_bench.cli import app; app()", "dashboard"]
    with served([*command, "--port", str(port), "--token", TOKEN], port, folder) as server:
        yield f"http://127.0.0.1:{port}/?token={quote(TOKEN)}", folder, server


@pytest.fixture(scope="module")
def misdeeds():
    "What pages asked of other machines, and what they threw"
    return []


@pytest.fixture(autouse=True)
def nothing_leaves_and_nothing_throws(misdeeds):
    yield
    found = misdeeds.copy()
    misdeeds.clear()
    assert found == []


@pytest.fixture(scope="module")
def visit(chromium, site, misdeeds):
    "Open the dashboard as another visitor"
    contexts = []

    def visit():
        contexts.append(chromium.new_context(viewport={"width": 1360, "height": 900}))
        page = contexts[-1].new_page()
        page.sockets = []
        page.on("websocket", lambda w: page.sockets.append(w.url))
        page.on("request", lambda r: misdeeds.append(r.url) if leaves_this_machine(r.url) else None)
        page.on("websocket", lambda w: misdeeds.append(w.url) if leaves_this_machine(w.url) else None)
        page.on("pageerror", lambda e: misdeeds.append(str(e)))
        page.goto(site[0], timeout=120_000)
        expect(button(page, "Train")).to_be_visible(timeout=120_000)
        return page

    yield visit
    for context in contexts:
        context.close()


@pytest.fixture(scope="module")
def page(visit):
    "The page of the one person whose afternoon this is"
    return visit()


@pytest.fixture(scope="module")
def other(visit):
    "The page of somebody else, who comes when the first has trained"
    return visit()


def button(page, name):
    return page.get_by_role("button", name=name, exact=True)


def tab(page, name):
    page.get_by_role("tab", name=name).click()


def part(page, title):
    return page.locator(".part").filter(has=page.locator("h2", has_text=re.compile(f"^{title}$")))


def field(page, name):
    "The input of a setting, by its whole label"
    return page.get_by_label(SETTINGS[name].label + SETTINGS[name].help, exact=True)


def write(page, **values):
    "Fill in settings, as a person would"
    for name, value in values.items():
        box = field(page, name)
        if not box.is_visible():
            page.get_by_label("More settings").check()
        if box.evaluate("e => e.tagName") == "SELECT":
            box.select_option(value)
        else:
            box.fill(value)
            box.press("Tab")


def said(page):
    return page.locator(".bar [role=status]")


def alarm(page):
    return page.locator(".bar [role=alert]")


def chips(page):
    "What the page says is chosen"
    return page.locator(".bar button")


def rows(page):
    "The rows of the table, whether or not its tab is the one that is shown"
    return page.locator('.runs .row:not([style*="none"])')


def cell(row, column):
    return row.locator(".widget-html-content > span").nth(list(COLUMNS).index(column))


def tick(row):
    row.get_by_role("checkbox").check()


def star(row):
    return row.locator("button")


def figures(page, title):
    return part(page, title).locator("figure:visible")


def train(page, *expected, **values):
    "Press Train and wait for what the page says at the end"
    tab(page, "Train")
    write(page, **values)
    before = said(page).text_content()
    button(page, "Train").click()
    expect(said(page)).not_to_have_text(before)
    for text in expected or ["Trained: "]:
        expect(said(page)).to_contain_text(text, timeout=240_000)


def warm_processes(server):
    "Processes that a page of this server has made ready for a training"
    import psutil

    children = psutil.Process(server.pid).children(recursive=True)
    return [p for p in children if any("mlp_bench.jobs import serve" in word for word in p.cmdline())]


def begin(page, **values):
    "Press Train and wait for a curve that grows"
    tab(page, "Train")
    write(page, **values)
    page.evaluate(f"{CURVES}.forEach(p => p.dataset.old = 1)")
    button(page, "Train").click()
    page.wait_for_function(GROWN, arg=2, timeout=120_000)


def drawn(page):
    "How many points the curves have that were drawn since Train was pressed"
    return page.evaluate(f"{CURVES}.map(p => +p.dataset.points)")


def copy_run(path, count):
    "More runs in a store: one of its runs again, each with a plan of its own"
    heart, rng = load("heart"), np.random.default_rng(0)
    with closing(sqlite3.connect(path, timeout=30)) as db, db:
        db.row_factory = sqlite3.Row
        (run_id,) = db.execute(  # a finished one: what was stopped stays in MLflow's bin
            "SELECT p.run_uuid FROM params p JOIN tags t ON t.run_uuid = p.run_uuid "
            "WHERE p.key = 'backend' AND p.value = 'numpy' AND t.key = 'mlp_bench.key'"
        ).fetchone()
        original = Original(db, run_id)
        for i in range(count):
            config = Config(plan=f"cv:2x1@{i}")
            started = original.run["start_time"] + i
            copied = original.copy(path.parent / "mlartifacts", config, key(config, heart), started, rng, {})
            for table, new in copied.items():
                for r in new:
                    db.execute(f"INSERT INTO {table} VALUES ({', '.join('?' for _ in r)})", tuple(r.values()))


def choose_none(page):
    if button(page, "Choose none").count():
        button(page, "Choose none").click()
    expect(chips(page)).to_have_count(0)


def look_for(page, words):
    "Go to the table and filter it"
    tab(page, "Compare")
    page.get_by_label("Filter").fill(words)


def shoot(page, name):
    if not SHOTS:
        return
    page.mouse.move(0, 0)
    for width, height in ((1360, 900), (390, 844)):
        page.set_viewport_size({"width": width, "height": height})
        for scheme in ("light", "dark"):
            page.emulate_media(color_scheme=scheme)
            page.screenshot(path=str(Path(SHOTS, f"{name}-{width}-{scheme}.png")), full_page=True)
    page.set_viewport_size({"width": 1360, "height": 900})
    page.emulate_media(color_scheme="light")


def fits(page):
    return page.evaluate(
        "Math.max(document.documentElement.scrollWidth, document.body.scrollWidth) <= window.innerWidth"
    )


def barriers(page):
    "What axe-core finds"
    from axe_playwright_python.sync_playwright import Axe

    found = (
        Axe()
        .run(page, options={"runOnly": ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "best-practice"]})
        .response["violations"]
    )
    return [(v["id"], [n["html"][:200] for n in v["nodes"][:3]]) for v in found]


# the tests of this file share one server, one store and mostly one page, and run in their order, like one
# person's afternoon; `conftest.py` keeps them together


def test_only_who_knows_the_token_comes_in(site, chromium):
    folder, port = site[1], int(re.search(r":(\d+)/", site[0])[1])
    assert "open%20sesame" in (folder.parent / f"server-{port}.log").read_text()
    for path in ("", "api/kernels", "api/contents", "voila/files/mlflow.db"):
        door = http.client.HTTPConnection("127.0.0.1", port)
        door.request("GET", f"/{path}")
        answer = door.getresponse()
        assert answer.status == 403 or (
            answer.status == 302 and answer.headers["Location"].startswith("/login")
        )


def test_a_network_is_trained_before_the_visitors_eyes_until_they_stop_it(page, site):
    assert page.title() == "mlp_bench"
    expect(page.get_by_text("not for clinical use").first).to_be_visible()
    assert page.get_by_text("What we learnt").count() == 0  # the book stays behind
    assert "No runs yet" in page.locator(".runs").text_content()
    expect(page.locator(".bar")).to_contain_text("No run is chosen")
    end = time.time() + 60
    while not warm_processes(site[2]) and time.time() < end:  # somebody has come: one is made ready
        time.sleep(0.2)
    assert warm_processes(site[2]) and alarm(page).inner_text() == ""
    begin(page, epochs="10000", plan="cv:10x10")
    page.wait_for_function(GROWN, arg=max(drawn(page)), timeout=120_000)
    assert page.locator(".plot path.band").count() >= 2  # training and held-out, each with its folds
    pressed = time.monotonic()
    button(page, "Stop").click()
    expect(said(page)).to_contain_text("Stopped: nothing of this run was kept")
    assert time.monotonic() - pressed < 2  # a moment, even on a busy machine
    expect(button(page, "Stop")).to_be_disabled()
    assert "No runs yet" in page.locator(".runs").text_content()


def test_wrong_input_is_a_sentence_and_loses_nothing(page):
    def refuse(name, value, sentence):
        write(page, **{name: value})
        button(page, "Train").click()
        expect(alarm(page)).to_contain_text(sentence)

    for name, value, sentence in (
        ("hidden_layer_sizes", HOSTILE, "hidden_layer_sizes must be auto or whole numbers"),
        ("dropout", "7", "dropout must be a number from 0 to 0.99, got 7"),
    ):
        right = field(page, name).input_value()
        refuse(name, value, sentence)
        expect(page.locator(".invalid input")).to_have_count(1)
        expect(field(page, name)).to_be_focused()
        assert field(page, name).input_value() == value and field(page, "epochs").input_value() == "10000"
        expect(field(page, name)).to_have_attribute("aria-invalid", "true")
        expect(button(page, "Train")).to_be_enabled()
        write(page, **{name: right})
    refuse("data", "nowhere.csv", "nowhere.csv")
    assert field(page, "data").input_value() == "nowhere.csv"
    write(page, data="heart")
    expect(page.locator(".invalid")).to_have_count(0)
    assert page.evaluate("window.hurt") is None


def test_both_networks_train_live_and_keras_is_announced_while_it_loads(page, site):
    write(page, backend="NumPy and Keras", epochs="20", plan="cv:3x1")
    button(page, "Train").click()
    expect(part(page, "Training")).to_contain_text("loading TensorFlow", timeout=120_000)
    page.wait_for_function(
        "[...document.querySelectorAll('.plot')].some(p => /Keras, training/.test(p.ariaLabel) "
        "&& [...p.querySelectorAll('path.line')].at(-1).dataset.points > 2)",
        timeout=240_000,
    )
    expect(said(page)).to_contain_text(re.compile("Trained: NumPy .* ROC AUC .* Keras"), timeout=240_000)
    expect(alarm(page)).to_have_text("")
    expect(rows(page)).to_have_count(2)
    auc = float(re.search(r"AUC (\d\.\d+)", said(page).inner_text())[1])
    row = rows(page).filter(has_text="NumPy")
    assert 0.8 < auc < 0.97 and cell(row, "ROC AUC").text_content() == f"{auc:.3f}"
    assert (site[1] / "mlflow.db").exists()  # where the visitor started it
    expect(figures(page, "Training")).to_have_count(4)  # the curves, and what came of them
    expect(chips(page)).to_have_text([re.compile("^NumPy .* ✕"), re.compile("^Keras"), "Choose none"])
    shoot(page, "train")


def test_a_configuration_is_never_trained_twice(page):
    choose_none(page)
    train(page, "Found in the store: NumPy")
    expect(figures(page, "Training").last).to_contain_text("Errors of Keras")
    expect(chips(page)).to_have_count(3)
    expect(rows(page)).to_have_count(2)


def test_two_runs_are_chosen_compared_and_their_errors_weighed(page):
    look_for(page, "numpy")
    choose_none(page)
    expect(rows(page)).to_have_count(1)
    tick(rows(page))
    expect(figures(page, "Comparison")).to_have_count(5)
    page.get_by_label("Filter").fill("keras")
    expect(rows(page)).to_contain_text("Keras")
    expect(chips(page)).to_have_text([re.compile("NumPy"), "Choose none"])  # though the table shows another
    tick(rows(page))
    expect(chips(page)).to_have_text([re.compile("NumPy"), re.compile("Keras"), "Choose none"])
    comparison = part(page, "Comparison")
    expect(comparison.locator("p b")).to_contain_text(re.compile("(NumPy|Keras).*ΔROC AUC"))
    expect(figures(page, "Comparison")).to_have_count(7)
    drawn = figures(page, "Comparison").evaluate_all(
        "all => all.map(f => f.querySelectorAll('path.line, circle.point, rect').length)"
    )
    assert min(drawn) >= 2
    assert comparison.locator("figcaption").first.inner_text().startswith("Area under the ROC curve")
    expect(comparison.get_by_role("row", name=re.compile("^ROC AUC"))).to_contain_text("[")
    errors = comparison.locator("figcaption").last
    before = errors.inner_text()
    threshold = page.get_by_label("Threshold")
    threshold.fill("0.9")
    threshold.press("Enter")
    expect(errors).not_to_have_text(before)
    shoot(page, "compare")


def test_a_note_and_a_star_go_to_the_store(page, site):
    look_for(page, "")
    expect(rows(page)).to_have_count(2)
    note = f"مرحبا 🎉 {HOSTILE}"
    page.get_by_label("Note").fill(note)
    button(page, "Save note").click()
    numpy = rows(page).filter(has_text="NumPy")
    expect(cell(numpy, "Note")).to_have_text(note)
    star(numpy).click()
    expect(star(numpy)).to_have_text("★")
    page.get_by_label("Starred only").check()
    expect(rows(page)).to_have_count(1)
    page.get_by_label("Starred only").uncheck()
    expect(rows(page)).to_have_count(2)
    with closing(sqlite3.connect(site[1] / "mlflow.db")) as db:  # where MLflow keeps both for everyone
        tags = dict(db.execute("SELECT key, value FROM tags").fetchall())
    assert tags["mlflow.note.content"] == note and tags["mlp_bench.star"]
    assert page.evaluate("window.hurt") is None and page.locator("img[src=x]").count() == 0


def test_what_is_shown_can_be_taken_away(page):
    button(page, "Prepare downloads").click()
    with page.expect_download(timeout=120_000) as csv:
        page.get_by_role("link", name="runs.csv").click()
    frame = pd.read_csv(csv.value.path())
    assert len(frame) == 2 and any(HOSTILE in str(n) for n in frame.note)
    with page.expect_download() as html:
        page.get_by_role("link", name="report.html").click()
    report = Path(html.value.path()).read_text()
    assert "ΔROC AUC" in report and "<script" not in report


def test_what_others_train_comes_in_and_the_chosen_stay_in_sight(page, site):
    look_for(page, "")
    copy_run(site[1] / "mlflow.db", 10)  # each of them in a group of its own
    expect(part(page, "Runs")).to_contain_text("from 1 of 12")  # of its own accord
    expect(rows(page)).to_have_count(10)
    button(page, "Next").click()
    expect(part(page, "Runs")).to_contain_text("from 11 of 12")
    expect(rows(page).get_by_role("checkbox", checked=True)).to_have_count(2)
    button(page, "Previous").click()
    expect(rows(page).get_by_role("checkbox", checked=True)).to_have_count(0)
    expect(chips(page)).to_have_count(3)
    tick(rows(page).last)
    expect(chips(page)).to_have_count(4)
    expect(part(page, "Comparison").locator("p b")).to_have_count(2)  # against the first
    chips(page).nth(1).click()  # takes it out again
    expect(chips(page)).to_have_text([re.compile("NumPy"), re.compile("NumPy"), "Choose none"])
    choose_none(page)
    expect(page.locator(".bar")).to_contain_text("No run is chosen")
    expect(part(page, "Comparison")).to_contain_text("Choose runs in the table")
    expect(rows(page).get_by_role("checkbox", checked=True)).to_have_count(0)


def test_runs_are_ranked_by_any_metric(page):
    look_for(page, "cv:3")
    expect(rows(page)).to_have_count(2)
    for metric, sign in (("Log loss", 1), ("ROC AUC", -1)):
        page.get_by_label("Rank by").select_option(metric)
        expect(cell(rows(page).first, "Rank")).to_have_text("1")
        column = lambda: [sign * float(cell(row, metric).inner_text()) for row in rows(page).all()]
        end = time.time() + 20
        while column() != sorted(column()) and time.time() < end:
            time.sleep(0.1)
        assert column() == sorted(column())


def test_the_keyboard_is_enough_from_the_data_to_the_verdict(page):
    press = page.keyboard.press

    def walk(target, key="Tab", most=90):
        for _ in range(most):
            if target.evaluate("e => e === document.activeElement || e.contains(document.activeElement)"):
                return
            press(key)
        raise AssertionError(f"{target} cannot be reached by {key}")

    tab(page, "Train")
    page.locator("body").click(position={"x": 2, "y": 2})
    walk(field(page, "data"))
    press("Control+A")
    page.keyboard.type("heart")
    for name, value in (("plan", "cv:3x1"), ("epochs", "20")):
        walk(field(page, name))
        press("Control+A")
        page.keyboard.type(value)
    walk(button(page, "Train"))
    press("Enter")
    expect(said(page)).to_contain_text("Found in the store")
    walk(page.get_by_role("tab", name="Train"), "Shift+Tab")
    press("ArrowRight")
    expect(page.get_by_role("tab", name="Compare")).to_be_focused()
    press("Enter")
    expect(part(page, "Runs")).to_be_visible()
    walk(page.get_by_label("Filter"))
    press("Control+A")
    page.keyboard.type("cv:3 keras")
    expect(rows(page)).to_have_count(1)
    walk(rows(page).get_by_role("checkbox"))
    press("Space")
    expect(chips(page)).to_have_count(2)
    press("Space")
    expect(chips(page)).to_have_count(3)
    expect(part(page, "Comparison").locator("p b")).to_contain_text("ΔROC AUC")
    walk(chips(page).last, "Shift+Tab")
    press("Space")
    expect(chips(page)).to_have_count(0)


def test_one_row_is_answered_by_both_networks_while_it_is_changed(page):
    look_for(page, "cv:3")
    expect(rows(page)).to_have_count(2)
    for row in rows(page).all():
        tick(row)
    expect(chips(page)).to_have_count(3)
    tab(page, "Try a row")
    answers = part(page, "A row to try").locator("h3")
    expect(answers).to_have_count(2)
    assert {text.split()[0] for text in answers.all_inner_texts()} == {"NumPy", "Keras"}
    expect(part(page, "A row to try").get_by_text("not for clinical use").first).to_be_visible()

    def changed(act):
        before = answers.all_inner_texts()
        act()
        expect(answers.first).not_to_have_text(before[0])
        expect(answers.last).not_to_have_text(before[1])

    changed(lambda: page.get_by_label("ST_Slope").select_option("Up"))
    age = page.get_by_label(re.compile("^Age"))
    changed(lambda: (age.fill("70"), age.press("Enter")))
    assert part(page, "A row to try").locator("table tr").count() == 22
    age.fill("seventy")
    age.press("Enter")
    expect(alarm(page)).to_contain_text("Age must be a number, got 'seventy'")
    expect(page.locator(".invalid input")).to_be_focused()
    expect(answers).to_have_count(0)
    age.fill("")  # a missing value has an answer
    age.press("Enter")
    expect(answers).to_have_count(2)
    expect(alarm(page)).to_have_text("")
    shoot(page, "row")


def test_nothing_scrolls_sideways_on_a_phone(page):
    page.set_viewport_size({"width": 390, "height": 844})
    for name in ("Train", "Compare", "Try a row"):
        tab(page, name)
        assert fits(page), f"{name} scrolls sideways on a phone"
    page.set_viewport_size({"width": 1360, "height": 900})


def test_clean_up_shows_what_goes_and_deletes_only_that(page):
    look_for(page, "")
    choose_none(page)
    expect(part(page, "Runs")).to_contain_text("of 12")
    expect(part(page, "Clean up").locator("button")).to_be_disabled()
    tick(rows(page).first)
    doomed = rows(page).first.get_by_role("checkbox").evaluate("e => e.parentElement.textContent.trim()")
    panel = part(page, "Clean up")
    expect(panel.locator("li")).to_contain_text(doomed)
    assert re.search(r"\d+ files, [\d,]+ bytes", panel.inner_text())
    names = set(page.locator(".runs .widget-label-basic").all_inner_texts())
    button(page, "Delete 1 run for good").click()
    expect(said(page)).to_contain_text("Deleted 1 run", timeout=120_000)
    expect(part(page, "Runs")).to_contain_text("of 11")
    expect(page.locator(".mlp-bench")).not_to_contain_text(doomed)
    assert len(names - set(page.locator(".runs .widget-label-basic").all_inner_texts())) == 1


def test_in_a_new_store_an_uploaded_table_with_a_hostile_header_is_trained_and_tried(page, site, tmp_path):
    table = tmp_path / "my <b>shop 🎉.csv"
    pd.DataFrame(
        {HOSTILE: range(120), "=cmd()": ["ن", "<i>x</i>", "z"] * 40, "bought": ["yes", "no"] * 60}
    ).to_csv(table, index=False)
    (site[1] / "mlflow.db").unlink()
    look_for(page, "")
    expect(page.locator(".runs")).to_contain_text("No runs yet", timeout=20_000)
    expect(chips(page)).to_have_count(0)
    tab(page, "Train")
    with page.expect_file_chooser() as chooser:
        page.get_by_role("button", name="Upload a table").click()
    chooser.value.set_files(table)
    expect(said(page)).to_contain_text("120 rows, 3 columns")
    expect(field(page, "target")).to_have_value("bought")
    train(page, epochs="5", plan="cv:3x1", backend="NumPy")
    assert [path.suffix for path in (site[1] / "uploads").iterdir()] == [".csv"]
    tab(page, "Try a row")
    expect(part(page, "A row to try").locator("h3")).to_have_count(1)
    expect(page.locator("label").filter(has_text="onerror").first).to_be_visible()
    expect(part(page, "A row to try").locator("th").filter(has_text="onerror")).to_be_visible()
    page.get_by_label("=cmd()").select_option("<i>x</i>")
    assert page.evaluate("window.hurt") is None
    assert page.locator("img[src=x]").count() + page.locator(".mlp-bench i:not(.fa)").count() == 0
    expect(rows(page)).to_have_count(1)


OTHER_TASKS = {  # what is predicted, the first figure, and what a network says to a row
    "multiclass": (["a", "b", "c"] * 40, "ROC curve, each class", r"NumPy \w+: [abc], [\d.]+%"),
    "regression": ([1.5 * i for i in range(120)], "Observed and predicted", r"NumPy \w+: −?-?[\d.,]+$"),
}


@pytest.mark.parametrize("task", OTHER_TASKS)
def test_many_classes_and_amounts_are_trained_compared_and_tried(page, tmp_path, task):
    wanted, figure, answer = OTHER_TASKS[task]
    table = tmp_path / f"{task}.csv"
    pd.DataFrame({"x": [i % 7 for i in range(120)], "wanted": wanted}).to_csv(table, index=False)
    tab(page, "Train")
    with page.expect_file_chooser() as chooser:
        page.get_by_role("button", name="Upload a table").click()
    chooser.value.set_files(table)
    expect(said(page)).to_contain_text(re.compile(f"{task}.*: 120 rows, 2 columns[.;]"))
    write(page, target="wanted")
    page.get_by_label("More settings").check()
    expect(field(page, "class_weight")).to_be_visible(visible=task == "multiclass")
    train(page, epochs="5", plan="cv:3x1", backend="NumPy")
    expect(part(page, "Training").locator("figure b").filter(has_text=figure)).to_be_visible()
    tab(page, "Compare")
    expect(part(page, "Comparison").locator("figure b").filter(has_text=figure)).to_be_visible()
    expect(page.get_by_label("Threshold")).to_be_hidden()
    scores = rows(page).filter(has_text="RMSE")  # of classes the column's head has the name
    expect(scores).to_have_count(int(task == "regression"))
    shoot(page, task)
    tab(page, "Try a row")
    expect(part(page, "A row to try").locator("h3")).to_have_text(re.compile(answer))
    expect(alarm(page)).to_have_text("")


@pytest.mark.slow
def test_visitors_see_each_others_notes_and_stars(page, other):
    look_for(page, "bought")
    tick(rows(page))
    page.get_by_label("Note").fill(f"🎉 {HOSTILE}")
    button(page, "Save note").click()
    star(rows(page)).click()
    expect(star(rows(other).filter(has_text="🎉"))).to_have_text("★")
    assert other.evaluate("window.hurt") is None and other.locator("img[src=x]").count() == 0


@pytest.mark.slow
def test_stopping_the_second_of_two_keeps_the_first(page):
    tab(page, "Train")
    write(page, data="heart", target="", backend="NumPy and Keras", epochs="6", plan="cv:2x1", seed="5")
    button(page, "Train").click()
    expect(part(page, "Training")).to_contain_text("loading TensorFlow", timeout=120_000)
    button(page, "Stop").click()
    expect(said(page)).to_contain_text("what had ended (1 of 2 runs)")
    expect(chips(page)).to_have_count(2)
    tab(page, "Compare")  # what was kept is the one that is chosen
    button(page, "Delete 1 run for good").click()
    expect(chips(page)).to_have_count(0, timeout=120_000)
    tab(page, "Train")
    write(page, backend="NumPy", seed="0")


@pytest.mark.slow
def test_a_diverging_network_is_a_sentence_and_leaves_no_run(page):
    tab(page, "Train")
    write(
        page,
        data="heart",
        target="",
        optimizer="sgd",
        learning_rate="10",
        l2="10",
        epochs="300",
        plan="cv:2x1",
    )
    button(page, "Train").click()
    expect(alarm(page)).to_contain_text("learning_rate=10", timeout=120_000)
    assert alarm(page).inner_text().startswith("the loss became")
    write(page, optimizer="adam", learning_rate="0.001", l2="0")


@pytest.mark.slow
def test_nobody_is_shut_out(page):
    train(page, data="heart", target="", backend="NumPy", epochs="5", plan="cv:2x1")
    train(page, epochs="6")
    look_for(page, "cv:2")
    expect(rows(page)).to_have_count(2)
    for row in rows(page).all():
        tick(row)
    expect(chips(page)).to_have_count(3)
    for name in ("Train", "Compare", "Try a row"):
        tab(page, name)
        for scheme in ("light", "dark"):
            page.emulate_media(color_scheme=scheme)
            assert barriers(page) == [], f"{name}, {scheme}"
    page.emulate_media(color_scheme="light")
    names = page.evaluate(
        "[...document.querySelectorAll('.mlp-bench :is(input, select, button)')].filter(e => "
        "e.offsetParent && !(e.labels?.length || e.ariaLabel || e.textContent.trim())).map(e => e.outerHTML)"
    )
    assert names == []


@pytest.mark.slow
def test_two_visitors_train_at_once(page, other):
    for each, seed in ((page, "471101"), (other, "471102")):
        tab(each, "Train")
        write(each, data="heart", target="", backend="NumPy", epochs="40", plan="cv:3x1", seed=seed)
        button(each, "Train").click()
    for each in (page, other):
        expect(said(each)).to_contain_text("Trained: NumPy", timeout=240_000)
    for each, found in ((page, "471102"), (other, "471101")):  # each sees what the other has trained
        look_for(each, found)
        expect(rows(each)).to_have_count(1)


@pytest.mark.slow
def test_a_training_outlives_the_page_that_asked_for_it(visit, other):
    page = visit()
    begin(page, epochs="900", plan="cv:10x1", seed="77")
    page.close()
    tab(other, "Compare")
    other.get_by_label("Filter").fill("epochs 900 seed 77")
    expect(rows(other)).to_have_count(1, timeout=120_000)


@pytest.mark.slow
def test_a_dead_kernel_is_said_and_the_next_page_works(visit):
    page = visit()
    kernel = re.search("kernels/([^/]+)/channels", page.sockets[-1])[1]
    # of this page, and not the one that waits for the next visitor
    found = subprocess.run(["pgrep", "-f", f"kernel-{kernel}.json"], capture_output=True, text=True)
    os.kill(int(found.stdout.split()[0]), signal.SIGKILL)
    page.wait_for_function(
        "[...document.querySelectorAll('.mlp-bench')].some(e => "
        "getComputedStyle(e, '::before').content.includes('has stopped'))",
        timeout=120_000,
    )
    page.close()
    assert rows(visit()).count() >= 3


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
        begin(page, epochs="700", plan="cv:10x1")
        page.context.close()
        end = time.time() + 60
        while kernels() > 1 and time.time() < end:
            time.sleep(0.5)
        assert kernels() == 1  # the one that waits for the next visitor
        page = chromium.new_context().new_page()
        page.goto(f"http://127.0.0.1:{port}/")
        tab(page, "Compare")
        expect(rows(page)).to_have_count(1, timeout=120_000)
        page.context.close()


@pytest.mark.slow
def test_the_same_page_works_in_jupyterlab(tmp_path, chromium):
    import nbformat

    source = "import mlp_bench\npage = mlp_bench.dashboard()\ndisplay(page, page)"
    notebook = nbformat.v4.new_notebook(
        cells=[nbformat.v4.new_code_cell(source)],
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
        views = page.locator(".mlp-bench")  # of one widget: what one begins the other shows
        for view in (views.nth(0), views.nth(1)):
            expect(button(view, "Train")).to_be_visible(timeout=90_000)
        train(views.nth(0), epochs="5", plan="cv:2x1")
        for view in (views.nth(0), views.nth(1)):
            expect(rows(view)).to_have_count(1)
        if SHOTS:
            page.screenshot(path=str(Path(SHOTS, "lab.png")))
        page.context.close()


def test_the_network_is_not_let_in_without_a_token(no_store):
    from typer.testing import CliRunner

    from mlp_bench.cli import app

    done = CliRunner().invoke(app, ["dashboard", "--host", "0.0.0.0", "--no-token"])
    assert done.exit_code == 2 and "--no-token" in done.stderr and "Traceback" not in done.stderr
