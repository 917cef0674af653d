"""Intervals, rankings, verdicts and figures; the app's files."""

import importlib.util
import json
import os
import re
import subprocess
import sys
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy.stats import t, ttest_1samp
from typer.testing import CliRunner

import mlp_bench
from mlp_bench import comparison, figures, stats, workbench
from mlp_bench.cli import app
from mlp_bench.core import InputError
from mlp_bench.data import load
from mlp_bench.config import METRICS, Config
from mlp_bench.tracking import Run, results_of
from mlp_bench.manager import run
from mlp_bench.evaluation import score

ROOT = Path(__file__).resolve().parents[1]
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
    assert "one split gives no interval" in comparison.contrast(one, other).verdict


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
        assert "NumPy trained 2 times as fast" in comparison.contrast(*pair).verdict


def test_verdict_says_when_the_folds_cannot_tell():
    def verdict(a, b):
        return comparison.contrast(a, b).verdict

    assert "cannot be told apart" in verdict(a_run(0), a_run(1, backend="keras"))
    assert "NumPy is better than Keras" in verdict(a_run(0, shift=0.6), a_run(1, shift=-0.3, backend="keras"))


def test_verdict_without_an_auc_says_so():
    a = a_run()
    none = replace(a, folds=a.folds.assign(roc_auc=np.nan))
    assert comparison.contrast(none, none).verdict.startswith("No fold has test rows of both classes")


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
    assert "<script" not in html and html.count("<svg ") == 5 and "a$b" in html


def test_figures_without_a_curve_say_so():
    bare = results_of([replace(a_run(backend="logistic"), curve=np.array([]))])
    assert "None of these" in figures.loss_chart(bare.curves).alt
    assert len(figures.overview(bare.predictions, bare.curves)) == 3


def test_rank_counts_like_with_like(store):
    for backend, plan in ("majority", "cv:2"), ("logistic", "cv:2"), ("majority", "cv:3x1@2026"):
        run(Config(backend=backend, plan=plan))
    best = comparison.rank("log_loss")
    assert list(best["rank"]) == [1, 2, 1]
    assert list(best.backend) == ["logistic", "majority", "majority"]
    assert list(best.plan) == ["cv:2x1@2026"] * 2 + ["cv:3x1@2026"]
    assert list(comparison.rank("accuracy", top=1).backend) == ["logistic", "majority"]
    assert list(comparison.rank(plan="cv:3").plan) == ["cv:3x1@2026"]
    assert comparison.rank(dataset="other").empty


def test_two_targets_of_a_table_are_ranked_and_shown_apart(store):
    load("heart").X.assign(ill=load("heart").y).to_csv("t.csv", index=False)
    for target in ("ill", "Sex"):
        run(Config(data="t.csv", target=target, backend="majority", plan="cv:2"))
    both = comparison.rank()
    assert list(both["rank"]) == [1, 1] and list(both.target) == ["Sex", "ill"]
    output = CliRunner().invoke(app, ["rank"]).output
    assert "target" in output and "Sex" in output and "ill" in output


def test_rank_of_an_empty_store_is_an_empty_table(no_store):
    empty = comparison.rank()
    assert empty.empty and {"rank", "run_id", "roc_auc", "key"} <= set(empty.columns)
    assert not (no_store / "mlflow.db").exists()


def test_whoever_ranks_waits_for_no_heavy_import():
    heavy = ("tensorflow", "mlflow", "sklearn", "scipy", "matplotlib")
    probe = f"import sys, mlp_bench.comparison; print([name for name in {heavy} if name in sys.modules])"
    assert subprocess.run([sys.executable, "-c", probe], capture_output=True, text=True).stdout == "[]\n"


def test_rank_names_the_metrics_it_knows():
    with pytest.raises(InputError, match="'auc'.*accuracy, roc_auc, log_loss"):
        comparison.rank("auc")


def test_an_unknown_setting_of_compare_is_named():
    with pytest.raises(InputError, match="Unknown setting 'epoch'"):
        mlp_bench.compare("heart", epoch=3)


# the app's files


def app_tool():
    spec = importlib.util.spec_from_file_location("app_tool", ROOT / ".ci" / "app.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_app_s_notebook_is_the_book_s():
    copy = (APP / "06_compare.ipynb").read_text(encoding="utf-8")
    assert copy == app_tool().stripped(), "run `python .ci/app.py`"


def test_only_the_app_s_two_cells_survive_in_voila():
    patterns = json.loads((APP / "voila.json").read_text())["RegexRemovePreprocessor"]["patterns"]
    pattern = re.compile(patterns[0])
    notebook = json.loads((APP / "06_compare.ipynb").read_text(encoding="utf-8"))
    cells = ["".join(c["source"]) for c in notebook["cells"]]
    kept = [c for c in cells if not pattern.match(c)]
    assert [c.splitlines()[-1] for c in kept] == ["from mlp_bench.workbench import dashboard", "dashboard()"]


def test_nothing_in_the_app_names_another_machine():
    for path in APP.rglob("*"):
        if path.is_file() and path.suffix in (".j2", ".css", ".js", ".json"):
            namespace = "http://www.w3.org/2000/svg"  # a name, not an address
            text = path.read_text(encoding="utf-8").replace(namespace, "")
            assert not re.search(r"(https?:)?//[a-z]", text), path


def test_serve_command_works_from_any_folder(store, monkeypatch):
    monkeypatch.delenv("MLFLOW_TRACKING_URI")
    monkeypatch.setenv("JUPYTER_PATH", "/elsewhere")
    command, env = workbench.serve_command(8123, "127.0.0.1"), workbench.serve_environment("secret")
    assert command[0] == sys.executable and os.path.isfile(command[3]) and "--port=8123" in command
    assert env["MLFLOW_TRACKING_URI"] == f"sqlite:///{store}/mlflow.db"
    assert env["MLP_BENCH_FOLDER"] == str(store)
    assert env["JUPYTER_PATH"].split(os.pathsep) == [str(APP), "/elsewhere"]
    assert env["JUPYTER_TOKEN"] == "secret" and "secret" not in " ".join(command)
