"""Intervals, rankings, verdicts and figures; the app's files."""

import base64
import io
import json
import os
import re
import subprocess
import sys
from dataclasses import asdict, replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from scipy.stats import t, ttest_1samp
from typer.testing import CliRunner

import mlp_bench
from mlp_bench import comparison, figures, manager, models, ranking, stats, tracking
from mlp_bench.cli import app
from mlp_bench.core import InputError
from mlp_bench.data import load
from mlp_bench.config import Config, metrics_of, preset
from mlp_bench.tracking import Run, results_of
from mlp_bench.manager import run
from mlp_bench.evaluation import score

ROOT = Path(__file__).resolve().parents[1]
METRICS = metrics_of("binary")
APP = ROOT / "mlp_bench" / "app"


def a_run(seed=0, shift=0.0, folds=4, repeats=1, n=80, **settings):
    "A run with made-up predictions on made-up folds; the folds do not depend on the seed"
    rng, y = np.random.default_rng(seed), np.arange(n) // folds % 2
    parts = [(r * folds + k, k) for r in range(repeats) for k in range(folds)]
    tables = [pd.DataFrame(dict(fold=fold, row=np.arange(k, n, folds), y=y[k::folds])) for fold, k in parts]
    oof = pd.concat(tables, ignore_index=True)
    noise = rng.normal(0, 0.25, len(oof))
    oof["p"] = np.clip(0.3 * oof.y + 0.35 + shift * (oof.y - 0.5) + noise, 0.001, 0.999)
    costs = dict(fit_seconds=0.1 * (seed + 1), predict_us_per_row=2.0)
    rows = [
        dict(fold=fold, n_train=n - len(y), n_test=len(y), **score(y, p), **costs)
        for fold, y, p in stats.by_fold(oof)
    ]
    table = pd.DataFrame(rows)
    metrics = {m: table[m].mean() for m in [*METRICS, *costs]} | {f"{m}_std": table[m].std() for m in METRICS}
    ids = dict(run_id=f"{seed:032x}", key=f"{seed:064x}", cached=False)
    return Run(
        **ids,
        config=Config(**settings),
        metrics=metrics | {"ece": 0.03},
        folds=table,
        oof=oof,
        curve=np.linspace(0.7, 0.3, 20),
    )


def folds_of(*runs):
    return results_of(runs).folds


def predictions_of(*runs):
    return results_of(runs).predictions


def test_interval_is_the_published_formula():
    x = np.random.default_rng(0).normal(0.9, 0.02, 10)
    half = t.ppf(0.975, 9) * np.sqrt((1 / 10 + 1 / 9) * np.var(x, ddof=1))
    assert stats.ci95(x, 90, 10) == pytest.approx((x.mean() - half, x.mean() + half))
    assert stats.ci95(x, np.inf, 10) == pytest.approx(ttest_1samp(x, 0).confidence_interval(0.95))
    assert stats.ci95(x[:1], 90, 10) is None


def test_interval_ignores_folds_without_a_value():
    assert stats.ci95([0.8, np.nan, 0.9, 0.85], 90, 10) == stats.ci95([0.8, 0.9, 0.85], 90, 10)
    assert stats.ci95([np.nan, 0.9], 90, 10) is None


def test_the_summary_holds_what_the_runs_hold():
    runs = [a_run(0), a_run(1, backend="keras")]
    table = stats.summary(folds_of(*runs))
    assert list(table.index) == ["NumPy", "Keras"]
    for m in METRICS:
        assert table[m]["Keras"] == pytest.approx(runs[1].metrics[m], rel=1e-12)
        assert table[f"{m}_sd"]["Keras"] == pytest.approx(runs[1].metrics[f"{m}_std"], rel=1e-12)
    assert (table.brier_lo["NumPy"], table.brier_hi["NumPy"]) == stats.interval(runs[0].folds, "brier")
    assert list(table.times_faster) == pytest.approx([2, 1])
    assert "[" in stats.pretty(table).loc["NumPy", "ROC AUC"]


def test_one_split_has_no_interval():
    one, other = a_run(folds=1), a_run(1, folds=1, backend="keras")
    table = stats.summary(folds_of(one))
    assert np.isnan(table.roc_auc_lo.iloc[0]) and "[" not in stats.pretty(table).loc["NumPy", "ROC AUC"]
    assert "one split gives no interval" in ranking.contrast(one, other).verdict


def test_tables_keep_the_order_of_the_runs():
    runs = [a_run(backend=b) for b in ("numpy", "majority", "keras", "hist_gb")]
    names = ["NumPy", "Majority class", "Keras", "Gradient boosting"]
    results = results_of(runs)
    assert list(results.settings.model) == names
    for table in (results.folds, results.predictions, results.curves):
        assert [name for _, name, _ in stats.by_model(table)] == names


def test_a_setting_that_a_backend_does_not_have_is_empty():
    settings = results_of([a_run(), a_run(backend="logistic")]).settings
    assert settings.epochs[0] == 100 and settings.epochs[1] is None and settings.seed[1] == 0


def test_labels_tell_runs_of_one_backend_apart():
    def labels(*runs):
        return list(results_of(runs).settings.model)

    assert labels(a_run(), a_run(hidden_layer_sizes=(8,))) == ["NumPy (layers 32-16)", "NumPy (layers 8)"]
    many = dict(hidden_layer_sizes=(8,), dropout=0.4, epochs=7, learning_rate=0.01)
    assert labels(a_run(), replace(a_run(**many), run_id="f" * 32)) == ["NumPy 00000000", "NumPy ffffffff"]
    assert labels(a_run(dropout=0.4), a_run(backend="logistic")) == ["NumPy", "Logistic regression"]
    other = replace(a_run(data="other.csv"), run_id="f" * 32)
    assert labels(a_run(), other) == ["NumPy 00000000", "NumPy ffffffff"]
    assert labels(a_run(), a_run()) == ["NumPy 00000000", "NumPy 00000000 (2)"]


def test_the_contrast_names_the_faster_one_whichever_comes_first():
    a, b = a_run(0, shift=0.3), a_run(1, backend="keras")
    for pair in ((a, b), (b, a)):
        assert "NumPy trained 2 times as fast" in ranking.contrast(*pair).verdict


def test_verdict_says_when_the_folds_cannot_tell():
    def verdict(a, b):
        return ranking.contrast(a, b).verdict

    assert "cannot be told apart" in verdict(a_run(0), a_run(1, backend="keras"))
    assert "NumPy is better than Keras" in verdict(a_run(0, shift=0.6), a_run(1, shift=-0.3, backend="keras"))


def test_verdict_without_an_auc_says_so():
    a = a_run()
    none = replace(a, folds=a.folds.assign(roc_auc=np.nan))
    assert ranking.contrast(none, none).verdict.startswith("No fold has test rows of both classes")


def test_confusion_adds_up_to_the_rows_whatever_the_repeats():
    assert figures.confusion(a_run(repeats=3).oof).sum() == pytest.approx(80)


def test_reliability_groups_are_of_equal_size():
    groups = figures.reliability(a_run(n=86).oof)
    assert groups.n.sum() == 86 and groups.n.max() - groups.n.min() <= 1


def charts(*runs):
    results = results_of(runs)
    drawn = figures.overview(results.predictions, results.curves)
    drawn.append(figures.precision_recall_chart(results.predictions))
    drawn.append(figures.decision_chart(results.predictions))
    contrasts = stats.contrasts(results.folds)
    return [*drawn, figures.contrast_chart(contrasts), figures.fold_chart(results.folds, "brier")]


def test_charts_draw_themselves_in_the_page_s_colour_with_a_text_alternative():
    for chart in charts(a_run(0), a_run(1, backend="keras")):
        drawn = figures.svg(chart)
        assert chart.alt.endswith(".") and f'aria-label="{chart.alt}"' in drawn
        assert "currentColor" in drawn and figures.INK not in drawn and len(drawn) < 100_000
        ids = re.findall(r'id="([^"]+)"', drawn)
        assert len(ids) == len(set(ids))


def test_charts_are_plain_data_of_some_hundred_points():
    for chart in charts(a_run(0, n=3000, repeats=2), a_run(1, n=3000, repeats=2, backend="keras")):
        facts = asdict(chart)
        assert json.loads(json.dumps(facts, allow_nan=False, default=str)).keys() == facts.keys()
        for line in chart.lines:
            assert len(line.x) == len(line.y) <= 400


def test_names_with_dollars_backslashes_and_tags_are_drawn_as_they_are():
    results = results_of([a_run(0, recipe=r'a$b\1<"script">'), a_run(1, recipe="c$")])
    html = figures.gallery(figures.overview(results.predictions, results.curves))
    assert "<script" not in html and html.count('<svg class="plot"') == 5 and "a$b" in html


def test_figures_without_a_curve_say_so():
    bare = results_of([replace(a_run(backend="logistic"), curve=np.array([]))])
    assert "None of these" in figures.loss_chart(bare.curves).alt
    assert len(figures.overview(bare.predictions, bare.curves)) == 3


def test_rank_counts_like_with_like(store):
    for backend, plan in ("majority", "cv:2"), ("logistic", "cv:2"), ("majority", "cv:3x1@2026"):
        run(Config(backend=backend, plan=plan))
    best = ranking.rank("log_loss")
    assert list(best["rank"]) == [1, 2, 1]
    assert list(best.backend) == ["logistic", "majority", "majority"]
    assert list(best.plan) == ["cv:2x1@2026"] * 2 + ["cv:3x1@2026"]
    assert list(ranking.rank("accuracy", top=1).backend) == ["logistic", "majority"]
    assert list(ranking.rank(plan="cv:3").plan) == ["cv:3x1@2026"]
    with pytest.raises(InputError, match="No run on hart; there are runs on heart."):
        ranking.rank(dataset="hart")
    with pytest.raises(InputError, match="No run under cv:9x1@2026; there are runs under cv:2x1@2026, cv"):
        ranking.rank(plan="cv:9")


def test_two_targets_of_a_table_are_ranked_and_shown_apart(store):
    load("heart").X.assign(ill=load("heart").y).to_csv("t.csv", index=False)
    for target in ("ill", "Sex"):
        run(Config(data="t.csv", target=target, backend="majority", plan="cv:2"))
    both = ranking.rank()
    assert list(both["rank"]) == [1, 1] and list(both.target) == ["Sex", "ill"]
    output = CliRunner().invoke(app, ["rank"]).output
    assert "target" in output and "Sex" in output and "ill" in output


def test_rank_of_an_empty_store_is_an_empty_table(no_store):
    empty = ranking.rank()
    assert empty.empty and {"rank", "run_id", "roc_auc", "key"} <= set(empty.columns)
    assert not (no_store / "mlflow.db").exists()


def test_whoever_ranks_waits_for_no_heavy_import():
    heavy = ("tensorflow", "mlflow", "sklearn", "scipy", "matplotlib")
    probe = f"import sys, mlp_bench.ranking; print([name for name in {heavy} if name in sys.modules])"
    assert subprocess.run([sys.executable, "-c", probe], capture_output=True, text=True).stdout == "[]\n"


def test_rank_names_the_metrics_it_knows():
    with pytest.raises(InputError, match="'auc'.*accuracy, roc_auc, log_loss"):
        ranking.rank("auc")


def test_an_unknown_setting_of_compare_is_named():
    with pytest.raises(InputError, match="Unknown setting 'epoch'"):
        mlp_bench.compare("heart", epoch=3)


# the page, without a browser: what a click means is a function


@pytest.fixture
def page(store, monkeypatch):
    "A page over an empty store; nothing of it runs in a thread"
    monkeypatch.setattr(manager, "stored_figures", lambda *_: {})  # the page draws its own
    monkeypatch.setattr(comparison.Page, "in_thread", comparison.Page.safely)
    monkeypatch.setattr(comparison.Page, "watch", lambda self: None)
    page = comparison.Page()
    for build in comparison.PARTS:
        build(page)
    page.layout()
    return page


def stored(page, *backends, plan="cv:2", **settings):
    "Runs in the store, which the page has seen: their ids"
    ids = [run(Config(backend=b, plan=plan, **settings)).run_id for b in backends]
    page.refresh()
    return ids


def row_of(page, run_id):
    (row,) = (r for r in page.rows if r.box.layout.display is None and r.run.name == run_id)
    return row


def shown(page):
    return [row.run.name for row in page.rows if row.box.layout.display is None]


def chips(page):
    return [chip.description for chip in page.chips.children[1:]]


def alarm(page):
    return page.html["alert"].value


def test_a_page_over_an_empty_store_says_so_and_every_button_can_be_pressed(page):
    assert shown(page) == [] and "No runs yet" in page.html["head"].value and page.delete_button.disabled
    assert "No run is chosen" in page.chips.children[0].value and page.stop_button.disabled
    page.safely(page.open_row)
    assert "No network has been trained yet" in alarm(page)
    page.safely(page.write_note)
    assert "Choose the run" in alarm(page)
    page.say("")
    page.safely(page.prepare_downloads)
    page.safely(page.refresh)
    page.threshold.value = 0.3
    assert alarm(page) == '<div role="alert"></div>'


def test_what_is_ticked_is_chosen_compared_and_about_to_be_deleted(page):
    a, b, c = stored(page, "logistic", "majority", "numpy", epochs=2)
    for run_id in (b, a):
        row_of(page, run_id).choice.value = True
    assert page.chosen == [b, a]
    assert chips(page) == [f"Majority class {b[:8]} ✕", f"Logistic regression {a[:8]} ✕", "Choose none"]
    assert "Majority class" in page.html["verdict"].value and "ΔROC AUC" in page.html["verdict"].value
    assert page.html["figures"].value.count("<figure>") == 4  # neither has a curve
    assert page.html["errors"].value.count("<figure>") == 2
    assert page.html["preview"].value.count("<li>") == 2 and "2 runs" in page.delete_button.description
    page.chips.children[1].click()  # takes out the first
    assert page.chosen == [a] and not row_of(page, b).choice.value and row_of(page, a).choice.value
    assert page.html["verdict"].value == ""
    row_of(page, c).choice.value = True
    assert page.html["figures"].value.count("<figure>") == 5
    row_of(page, a).choice.value = False
    assert page.chosen == [c]
    page.chips.children[-1].click()
    assert page.chosen == [] and not any(row_of(page, r).choice.value for r in (a, b, c))
    assert (
        page.delete_button.disabled
        and "<figure" not in page.html["figures"].value + page.html["errors"].value
    )


def test_what_is_chosen_stays_chosen_where_the_table_does_not_show_it(page, monkeypatch):
    monkeypatch.setattr(comparison, "PAGE_ROWS", 2)
    others = [stored(page, "majority", plan=f"cv:2x1@{seed}")[0] for seed in range(2)]
    (last,) = stored(page, "majority", plan="cv:3")
    assert len(shown(page)) == 2 and last not in shown(page) and page.previous.disabled
    page.next.click()
    assert shown(page) == [last] and page.next.disabled and "from 3 of 3" in page.html["count"].value
    row_of(page, last).choice.value = True
    assert last in shown(page)  # ticking turns no page
    page.previous.click()
    row_of(page, shown(page)[0]).choice.value = True
    page.words.value = "no such words"
    assert shown(page) == [] and len(page.chosen) == 2
    assert len(chips(page)) == 3 and last[:8] in chips(page)[0]
    assert last in page.to_delete  # whoever deletes sees it, too
    page.words.value = "cv:3"
    assert shown(page) == [last] and row_of(page, last).choice.value
    assert alarm(page) == '<div role="alert"></div>'
    assert set(others) >= set(page.chosen) - {last}


def test_whatever_can_be_chosen_shows_what_is_chosen(page):
    choices = [box for box in (*page.inputs.values(), page.metric) if hasattr(box, "label")]
    assert len(choices) > 5 and all(box.label for box in choices)
    for box in (*choices, comparison.cell_input(pd.Series(["x", "y", None], name="c"))):
        for place in range(len(box.options)):
            box.index = place
            assert (box.index, box.label) == (place, box._options_labels[place])


@pytest.mark.parametrize("task", ["multiclass", "regression"])
def test_settings_without_a_meaning_for_the_task_are_hidden_and_left_alone(page, task, tmp_path):
    wanted = ["a", "b", "c"] * 20 if task == "multiclass" else [1.5 * i for i in range(60)]
    pd.DataFrame({"x": range(60), "wanted": wanted}).to_csv(tmp_path / "t.csv", index=False)
    page.inputs["data"].value = str(tmp_path / "t.csv")
    page.inputs["target"].value = "wanted"
    page.preset.value = "tuned"  # with smoothed labels
    hidden = {name for name, box in page.inputs.items() if box.layout.display == "none"}
    classes = {"label_smoothing", "class_weight"}
    assert page.task() == task and hidden == {"positive"} | (classes if task == "regression" else set())
    assert page.configs()[0].label_smoothing == (0.03 if task == "multiclass" else 0)


def test_equal_plans_are_ranked_together_however_they_were_written(page):
    stored(page, "majority", plan="cv:2")
    stored(page, "logistic", plan="cv:2x1")
    assert sorted(comparison.runs_table().Rank) == ["1", "2"]


def test_the_metric_ranks_the_table_and_judges_the_comparison(page):
    page.choose(stored(page, "majority", "logistic"))
    page.metric.value = "log_loss"
    losses = [float(row.run["Log loss"]) for row in page.rows[:2]]
    assert losses == sorted(losses)
    assert "Δlog loss" in page.html["verdict"].value
    page.metric.value = "fit_seconds"  # no measure of a fold
    assert "ΔROC AUC" in page.html["verdict"].value


def test_runs_on_different_folds_are_drawn_but_not_judged(page):
    page.choose(stored(page, "majority", plan="cv:2") + stored(page, "majority", plan="cv:3"))
    assert page.html["figures"].value.count("<figure>") == 3 and "fold" in page.html["verdict"].value


def test_stars_and_notes_go_to_the_store_as_they_were_written(page):
    a, b = stored(page, "majority", "logistic")
    row_of(page, b).star.value = True
    assert tracking.runs().set_index("run_id").star[b] and row_of(page, b).star.description == "★"
    page.starred.value = True
    assert shown(page) == [b]
    page.choose([b])
    page.note.value = note = "مرحبا 🎉 <img src=x>\"'&"
    page.write_note()
    assert tracking.runs().set_index("run_id").note[b] == note and "<img" not in row_of(page, b).texts.value
    page.choose([a])
    assert page.note.value == ""
    page.choose([b])
    assert page.note.value == note
    row_of(page, b).star.value = False
    assert shown(page) == [] and not tracking.runs().star.any()


def test_the_threshold_moves_the_errors(page):
    (a,) = stored(page, "logistic")
    page.choose([a])
    half = page.html["errors"].value
    page.threshold.value = 0.9
    assert page.html["errors"].value != half
    counts = list(map(int, re.findall(r"of (\d+) positives (\d+) found", page.html["errors"].value)[0]))
    oof = tracking.get_run(a).oof
    assert counts == [oof.y.sum(), (oof.p[oof.y == 1] > 0.9).sum()]


def test_only_what_was_shown_is_deleted(page):
    a, b, c = stored(page, "majority", "logistic", "numpy", epochs=2)
    page.choose([b, a])
    assert set(page.to_delete) == {a, b}
    page.words.value = "numpy"  # the table shows another run now
    page.delete()
    assert list(tracking.runs().run_id) == [c] == shown(page) and page.chosen == []
    assert "Deleted 2 runs" in page.html["status"].value
    page.choose([a])  # a page that is late says nothing wrong
    assert page.chosen == chips(page) == [] and page.delete_button.disabled
    page.choose([c])
    tracking.purge([c])  # somebody else was faster
    page.safely(page.delete)
    page.refresh()
    assert shown(page) == [] and "Traceback" not in alarm(page)


def test_the_downloads_hold_what_the_table_shows(page):
    a, b = stored(page, "majority", "logistic")
    page.words.value = "logistic"
    page.prepare_downloads()
    links = re.findall(r'download="(.*?)" href="data:.*?;base64,(.*?)"', page.html["files"].value)
    ((name, csv),) = links
    frame = pd.read_csv(io.BytesIO(base64.b64decode(csv)))
    assert name == "runs.csv" and list(frame.run_id) == [b] and frame.roc_auc[0] > 0.8
    page.choose([a, b])
    page.prepare_downloads()
    report = base64.b64decode(re.findall(r"base64,(.*?)\"", page.html["files"].value)[1]).decode()
    assert "ΔROC AUC" in report and "<script" not in report


def test_a_row_gets_the_answer_of_the_model_and_each_value_its_push(page):
    (a,) = stored(page, "numpy", epochs=2, ensemble=2)
    page.open_row()
    heart, model = load("heart"), manager.load_model(a)
    assert list(page.row_inputs) == list(heart.X) and " to " in page.html["answer"].value

    def answer():
        return re.search(r"<h3>NumPy \w+: ([\d.]+%)", page.html["answer"].value)[1]

    def expected(**changes):
        row = {n: [page.read_cell(n, b.value)] for n, b in page.row_inputs.items()}
        return f"{model.predict(pd.DataFrame(row | changes)).p[0]:.1%}"

    assert answer() == expected()
    page.row_inputs["ST_Slope"].value = "Up"
    page.row_inputs["Age"].value = "70"
    assert answer() == expected(ST_Slope=["Up"], Age=[70.0])
    page.row_inputs["Age"].value = "seventy"
    assert "Age must be a number, got &#x27;seventy&#x27;" in alarm(page)
    assert "invalid" in page.row_inputs["Age"]._dom_classes and page.html["answer"].value == ""
    page.row_inputs["Age"].value = ""
    assert "must be" not in alarm(page) and "invalid" not in page.row_inputs["Age"]._dom_classes
    page.row_inputs["Sex"].value = None
    assert answer() == expected(Age=[np.nan], Sex=[None])
    assert page.html["answer"].value.count('<span class="push') == heart.X.shape[1]


def test_the_row_is_of_the_table_of_the_first_network_chosen(page):
    heart = load("heart")
    heart.X[["Sex", "Age"]].assign(**{"<b>": range(len(heart.y)), "ill": heart.y}).to_csv(
        "t.csv", index=False
    )
    here, there = stored(page, "numpy", epochs=1), stored(page, "numpy", epochs=1, data="t.csv", target="ill")
    page.choose([*there, *here])
    page.open_row()
    assert list(page.row_inputs) == ["Sex", "Age", "<b>"] and [r.run_id for r in page.asked] == there
    assert (
        "<b></label>" not in page.row_inputs["<b>"].description and "<th><b>" not in page.html["answer"].value
    )
    page.choose(here)
    page.open_row()
    assert "ChestPainType" in page.row_inputs


def test_a_table_brings_its_targets(page):
    pd.DataFrame(dict(a=range(6), bought=["y", "n"] * 3)).to_csv("t.csv", index=False)
    page.inputs["data"].value = "t.csv"
    assert page.inputs["target"].value == "bought" and "6 rows, 2 columns, 1" in page.html["status"].value
    pd.DataFrame(dict(a=[0, 1] * 3, bought=["y", "n"] * 3)).to_csv("u.csv", index=False)
    page.inputs["data"].value = "u.csv"
    assert page.inputs["target"].value == "" and page.inputs["target"].options == ("a", "bought")
    Path("u.csv").write_text("")
    page.inputs["data"].value = "t.csv"
    page.inputs["data"].value = "u.csv"
    assert "u.csv" in alarm(page)


def test_the_target_of_another_table_is_not_kept_for_heart(page):
    pd.DataFrame(dict(a=range(6), bought=["y", "n"] * 3)).to_csv("t.csv", index=False)
    page.inputs["data"].value = "t.csv"
    page.inputs["data"].value = "heart"
    assert page.configs() == [Config()]


def test_a_frame_of_the_notebook_is_a_table_of_the_page(store, monkeypatch):
    monkeypatch.setattr(comparison.Page, "watch", lambda self: None)
    monkeypatch.setattr(comparison.Page, "in_thread", comparison.Page.safely)
    made = []
    init = comparison.Page.__init__
    monkeypatch.setattr(comparison.Page, "__init__", lambda self: made.append(self) or init(self))
    mlp_bench.dashboard(pd.DataFrame(dict(a=range(6), bought=["y", "n"] * 3)))
    (page,) = made
    assert page.inputs["target"].value == "bought" and load(page.inputs["data"].value, "bought").X.shape == (
        6,
        1,
    )


@pytest.mark.parametrize(
    "name",
    [
        "../../etc/passwd.csv",
        "..\\..\\my shop.csv",
        "<img src=x>.csv",
        "a\nb.csv",
        ".csv",
        "نص.csv",
        "x" * 300 + ".csv",
    ],
)
def test_an_upload_lies_in_its_folder_whatever_its_name(no_store, name):
    path = Path(comparison.store_upload(name, b"a,b\n1,2\n"))
    assert path.parent == Path("uploads") and path.read_bytes() == b"a,b\n1,2\n" and len(path.name) < 120
    assert not set("<>/\\\n") & set(path.name)
    other = comparison.store_upload(name, b"something else")
    assert path.read_bytes() == b"a,b\n1,2\n" and other != str(path)


@pytest.mark.parametrize("name", ["x.exe", "x", "", "x.csv.html"])
def test_what_is_no_table_is_not_kept(no_store, name):
    with pytest.raises(InputError, match="is not a table: upload one of"):
        comparison.store_upload(name, b"")
    assert not Path("uploads").exists()


def test_a_cached_configuration_needs_no_process(page):
    (a,) = stored(page, "majority", plan="cv:2")
    page.inputs["backend"].value = "majority"
    page.inputs["plan"].value = "cv:2"
    page.train()
    assert "Found in the store: Majority class" in page.html["status"].value
    assert page.chosen == [a] and page.job is None and not page.train_button.disabled
    assert page.html["result"].value.count("<figure>") == 2


@pytest.mark.parametrize(
    "name, value", [("dropout", "7"), ("hidden_layer_sizes", "<b>"), ("plan", "cv:1"), ("data", "no.csv")]
)
def test_what_cannot_be_trained_is_a_sentence_and_the_button_is_ready(page, name, value):
    page.inputs[name].value = value
    page.safely(page.train)
    assert name.replace("_", " ").split()[0] in alarm(page).replace("no.csv", "data").lower()
    assert "<b>" not in alarm(page) and not page.train_button.disabled and page.job is None
    assert page.inputs[name].value == value


def ended(**facts):
    "A job as a page meets it at the end"
    facts = (
        dict(running=False, curves=[], share=1, seconds_left=None, finished=False, done=[], error=None)
        | facts
    )
    return SimpleNamespace(**facts)


def test_how_a_training_ended_is_said(page):
    (a,) = stored(page, "majority")
    page.job = ended(error="the loss became nan", text="the loss became nan")
    page.follow()
    assert "the loss became nan" in alarm(page) and page.stop_button.disabled and page.chosen == []
    page.job = ended(done=[a], text="Stopped: 1 of 2 runs had ended and is kept, nothing else is.")
    page.follow()
    assert "1 of 2" in page.html["status"].value and page.chosen == [a] and "nan" not in alarm(page)
    page.job = ended(done=[a], finished=True, text="Done.")
    page.follow()
    assert "Trained: Majority class" in page.html["status"].value and page.html["progress"].value == ""


def test_the_settings_that_differ_are_shown_and_no_others(page):
    page.choose(stored(page, "numpy", epochs=1) + stored(page, "numpy", epochs=2))
    table = comparison.differences(page.results)
    assert list(table.loc["epochs"]) == ["1", "2"] and "dropout" not in table.index
    assert list(table.loc["run"]) == [r[:8] for r in page.chosen] and "ROC AUC" in table.index


def test_a_preset_fills_the_form(page):
    page.preset.value = "tuned"
    assert page.configs() == [preset("tuned")]


def test_perturbed_rows_differ_from_the_row_in_one_value_at_most():
    X = load("heart").X
    row = X[5:6]
    lines = models.perturbations(row, models.typical_values(X, 15))
    assert len(lines) == 1 + 15 * X.shape[1]
    differs = [(lines[n] != row[n].iloc[0]).to_numpy() for n in X]
    assert np.sum(differs, axis=0).max() == 1 and list(lines.dtypes) == list(X.dtypes)
    assert all(set(lines[n]) <= set(X[n]) for n in X)


# the app's files


def test_the_app_is_the_notebook_of_the_book():
    assert comparison.app_notebook() == ROOT / "nbs" / "06_compare.ipynb"


def test_only_the_cells_that_build_the_page_survive_in_voila():
    patterns = json.loads((APP / "voila.json").read_text())["RegexRemovePreprocessor"]["patterns"]
    notebook = json.loads(comparison.app_notebook().read_text(encoding="utf-8"))
    cells = ["".join(c["source"]) for c in notebook["cells"] if c["cell_type"] == "code"]
    kept = [c for c in cells if not any(re.match(f"(?:{p})", c) for p in patterns)]
    built = [c for c in cells if re.match(r"(#\|.*\n)*(#\| exports?\n|# app\n)", c)]
    assert kept == built and sum(c.endswith("\npage.layout()") for c in kept) == 1 and len(kept) > 20
    assert not any("test_eq(" in c or "fastcore.test" in c for c in kept)


def test_nothing_in_the_app_names_another_machine():
    for path in APP.rglob("*"):
        if path.is_file() and path.suffix in (".j2", ".css", ".js", ".json"):
            text = path.read_text(encoding="utf-8")
            text = re.sub(
                r"\{#.*?#\}|/\*.*?\*/|(?<=[\s;])// .*", "", text, flags=re.S if path.suffix == ".css" else 0
            )
            assert not re.search(r"(https?:)?//[a-z]", text), path


def test_serve_command_works_from_any_folder(store, monkeypatch):
    monkeypatch.delenv("MLFLOW_TRACKING_URI")
    monkeypatch.setenv("JUPYTER_PATH", "/elsewhere")
    command, env = comparison.serve_command(8123, "127.0.0.1"), comparison.serve_environment("secret")
    assert command[0] == sys.executable and os.path.isfile(command[3]) and "--port=8123" in command
    assert env["MLFLOW_TRACKING_URI"] == f"sqlite:///{store}/mlflow.db"
    assert env["MLP_BENCH_FOLDER"] == str(store)
    assert env["JUPYTER_PATH"].split(os.pathsep) == [str(APP), "/elsewhere"]
    assert env["JUPYTER_TOKEN"] == "secret" and "secret" not in " ".join(command)
