"""The report: one file that loads nothing, escapes what came from data, and holds the same numbers twice."""

import re

import numpy as np
import pandas as pd
import pytest
from sklearn.datasets import load_diabetes, load_wine
from typer.testing import CliRunner

from mlp_bench.cli import app
from mlp_bench.config import Config, metrics_of
from mlp_bench.core import InputError
from mlp_bench.manager import run
from mlp_bench.reports import report_of, report_plans, report
from mlp_bench.stats import METRIC_TITLES

QUICK = dict(backends=("numpy", "logistic"), epochs=3)


def without_figures(page):
    return re.sub(r"<svg.*?</svg>", "", page, flags=re.S)


@pytest.fixture(scope="module")
def pages(shared_store):
    "Two reports on a table that means harm"
    rng = np.random.default_rng(0)
    a, b = rng.normal(size=120), rng.integers(0, 3, 120)
    y = np.where(a + b + rng.normal(size=120) > 1, "<img src=x onerror=alert(1)>", "no & never")
    pd.DataFrame({"<script>alert(1)</script>": a, "b": b, "copy": y, "y": y}).to_csv("nasty.csv", index=False)
    return [report("nasty.csv", target="y", plan="holdout", **QUICK) for _ in range(2)]


def test_what_came_from_data_is_escaped(pages):
    page = without_figures(pages[0])
    assert "<script>alert" not in page and "<img src=x" not in page
    assert "&lt;img src=x" in page and "copy alone predicts the target" in page


def test_the_page_asks_nothing_of_the_network(pages):
    assert "default-src 'none'" in pages[0]
    loads = r"""(?:src|href)\s*=\s*["'](?!#)|url\((?!#)|@import|<script|<link"""
    assert not re.findall(loads, pages[0])


def test_a_second_report_holds_the_same_numbers(pages):
    first, second = map(without_figures, pages)
    assert first == second


PARTS = ["NumPy against the others", "Further measures", "Figures", "To do it again"]


def test_a_page_has_every_part(pages):
    assert all(part in pages[0] for part in PARTS)


@pytest.fixture(scope="module")
def pages_of_tasks(shared_store):
    "A report of many classes, and one of amounts"
    wine = load_wine(as_frame=True)
    kinds = wine.target.map({0: "<i>barolo</i>", 1: "grignolino", 2: "barbera"})
    wine.data.assign(kind=kinds).to_csv("wine.csv", index=False)
    load_diabetes(as_frame=True).frame.to_csv("diabetes.csv", index=False)
    backends = "numpy", "logistic", "majority"
    return {
        "multiclass": report("wine.csv", target="kind", plan="cv:3", backends=backends, epochs=3),
        "regression": report("diabetes.csv", target="target", plan="cv:3", backends=backends, epochs=3),
    }


FIGURES = {
    "multiclass": ["ROC curve", "Precision", "probabilities", "Training loss", "Errors of", "Errors of"],
    "regression": ["Observed and predicted", "Residuals", "How large are", "Training loss"],
}


@pytest.mark.parametrize("task", FIGURES)
def test_a_report_shows_what_suits_the_task_and_nothing_else(pages_of_tasks, task):
    page = pages_of_tasks[task]
    titles = re.findall(r"<figure><b>(.*?)</b>", page)
    assert len(titles) == len(FIGURES[task])
    assert all(wanted in title for wanted, title in zip(FIGURES[task], titles))
    heads = set(re.findall(r"<th>(.*?)</th>", page))
    shown = {m for m, title in METRIC_TITLES.items() if title in heads}
    assert shown == set(metrics_of(task)) | ({"balanced_accuracy"} if task == "multiclass" else set())
    assert ("Further measures" in page) == (task == "multiclass")
    assert "2 % of the best" in page and "positives" not in page.replace("share of the positives found", "")
    settings = {"positive", "class_weight", "label_smoothing"}
    known = {"multiclass": {"class_weight", "label_smoothing"}, "regression": set()}
    assert settings & heads == known[task]


def test_classes_are_called_by_their_labels_and_escaped(pages_of_tasks):
    page = pages_of_tasks["multiclass"]
    assert "<i>barolo" not in page and page.count("&lt;i&gt;barolo&lt;/i&gt;") >= 2 and "grignolino" in page
    assert "probabil" not in pages_of_tasks["regression"].lower()


def test_baselines_of_amounts_are_called_what_they_are(pages_of_tasks):
    page = pages_of_tasks["regression"]
    assert "Ridge regression" in page and "Majority" not in page and "Logistic regression" not in page


def test_chosen_runs_of_several_tasks_have_a_section_each(pages_of_tasks):
    quick = dict(plan="cv:3", epochs=3)
    tables = dict(data="wine.csv", target="kind"), dict(data="diabetes.csv", target="target")
    runs = [run(Config(**table, **quick, backend=b)) for table in tables for b in ("numpy", "logistic")]
    told = run(Config(**tables[1], **quick, backend="majority", task="regression"))
    page = report_of([*runs, told])
    assert page.count("<section><h2>wine") == page.count("<section><h2>diabetes") == 1
    assert all(title in page for title in ("Log loss", "RMSE", "Errors of NumPy", "Residuals"))
    assert told.cached and "Mean" in page  # whether a task is told or seen, the run is the same


@pytest.mark.slow  # the chapter makes one too
def test_the_page_on_the_heart_data_has_every_part_for_each_table_and_plan(store):
    page = report("heart", plan="cv:3", **QUICK)
    assert "heart-restored, each group left out in turn" in page and "not for clinical use" in page
    assert all(page.count(f"<h3>{part}") == 3 for part in PARTS[:3])


def test_only_the_heart_data_bring_the_restored_table():
    assert report_plans("mine.csv", "groups") == [("mine.csv", "groups")]
    assert ("heart-restored", "groups") in report_plans("heart", "cv:10x1")


def test_a_mistake_is_named_before_anything_is_trained(no_store):
    with pytest.raises(InputError, match="preset"):
        report("heart", "best")
    for wrong in (["--backend", "torch"], ["--out", "nowhere/report.html"], ["none.csv", "--target", "y"]):
        done = CliRunner().invoke(app, ["report", *wrong])
        assert done.exit_code == 2 and done.stderr.startswith("Error: ") and "Traceback" not in done.stderr
    done = CliRunner().invoke(app, ["report", "--margin", "0"])
    assert done.exit_code == 2 and "--margin" in done.stderr and "Traceback" not in done.stderr
