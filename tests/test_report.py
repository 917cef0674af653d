"""The report: one file that loads nothing, escapes what came from data, and holds the same numbers twice."""

import re
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest

from mlp_bench.core import InputError
from mlp_bench.reports import report_plans, report

QUICK = dict(backends=("numpy", "logistic"), epochs=3)


def without_figures(page):
    return re.sub(r"<svg.*?</svg>", "", page, flags=re.S)


@pytest.fixture
def nasty(store):
    rng = np.random.default_rng(0)
    a, b = rng.normal(size=120), rng.integers(0, 3, 120)
    y = np.where(a + b + rng.normal(size=120) > 1, "<img src=x onerror=alert(1)>", "no & never")
    pd.DataFrame({"<script>alert(1)</script>": a, "b": b, "copy": y, "y": y}).to_csv("nasty.csv", index=False)
    return "nasty.csv"


def test_what_came_from_data_is_escaped(nasty):
    page = without_figures(report(nasty, target="y", plan="cv:3", **QUICK))
    assert "<script>alert" not in page and "<img src=x" not in page
    assert "&lt;img src=x" in page and "copy alone predicts the target" in page


def test_the_page_asks_nothing_of_the_network(nasty):
    page = report(nasty, target="y", plan="cv:3", **QUICK)
    assert "default-src 'none'" in page
    assert not re.findall(r"""(?:src|href)\s*=\s*["'](?!#)|url\((?!#)|@import|<script|<link""", page)


def test_a_second_report_holds_the_same_numbers(nasty):
    pages = [without_figures(report(nasty, target="y", plan="cv:3", **QUICK)) for _ in range(2)]
    assert pages[0] == pages[1]


@pytest.mark.parametrize("plan", ["cv:3", "holdout"])
def test_every_plan_gives_a_page_with_every_part(store, plan):
    page = report("heart", plan=plan, **QUICK)
    for part in (
        "heart-restored, each group left out in turn",
        "NumPy against the others",
        "Further measures",
        "Figures",
        "To do it again",
        "not for clinical use",
    ):
        assert part in page


def test_only_the_heart_data_bring_the_restored_table():
    assert report_plans("mine.csv", "groups") == [("mine.csv", "groups")]
    assert ("heart-restored", "groups") in report_plans("heart", "cv:10x1")


def test_a_mistake_is_named_before_anything_is_trained(no_store):
    with pytest.raises(InputError, match="preset"):
        report("heart", "best")
    command = [sys.executable, "-c", "from mlp_bench.cli import app; app()", "report"]
    for wrong in (["--backend", "torch"], ["--out", "nowhere/report.html"], ["none.csv", "--target", "y"]):
        done = subprocess.run([*command, *wrong], capture_output=True, text=True)
        assert done.returncode == 2 and done.stderr.startswith("Error: ") and "Traceback" not in done.stderr
