"""The report: one file that loads nothing, escapes what came from data, and holds the same numbers twice."""

import re

import numpy as np
import pandas as pd
import pytest
from typer.testing import CliRunner

from mlp_bench.cli import app
from mlp_bench.core import InputError
from mlp_bench.reports import report_plans, report

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
