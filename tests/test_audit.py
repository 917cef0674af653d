"""The audit finds planted faults of every kind, and is quiet on clean tables."""

import json
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from sklearn.datasets import load_breast_cancer, make_classification
from typer.testing import CliRunner

from mlp_bench.cli import app
from mlp_bench.data import Dataset, load
from mlp_bench.eda import audit


def clean(seed=0, n=600):
    X, y = make_classification(n, 8, n_informative=4, flip_y=0.1, class_sep=0.7, random_state=seed)
    X = pd.DataFrame(X, columns=list("abcdefgh"))
    X = X.assign(ward=pd.cut(X.a, 4, labels=list("NESW")).astype(str), visits=(X.b * 2).round())
    return Dataset("clean", X, y, "ill", (0, 1))


def checks(table):
    return set(audit(table).check)


@pytest.mark.parametrize("seed", range(8))
def test_clean_tables_give_no_alarm(seed):
    assert len(audit(clean(seed))) == 0


@pytest.mark.parametrize("seed", range(5))
def test_shuffled_labels_leave_nothing_to_find_but_the_order_of_the_file(seed):
    heart = load("heart")
    findings = audit(replace(heart, y=np.random.default_rng(seed).permutation(heart.y)))
    assert set(findings.check) <= {"shift"}


def test_breast_cancer_gives_no_more_than_a_handful_of_alarms():
    table = load_breast_cancer(as_frame=True)
    assert len(audit(Dataset("cancer", table.data, table.target.to_numpy(), "benign", (0, 1)))) <= 3


def test_the_heart_leak_is_found_without_being_told():
    findings = audit(load("heart"))
    assert "ST_Slope" in set(findings[findings.check == "pure part"].column)


@pytest.mark.parametrize(
    "fault, expected",
    [
        (lambda X, y, rng: X.assign(outcome_code=np.where(y == 1, "p", "n")), "tells all"),
        (lambda X, y, rng: X.assign(record=rng.permutation(len(y)) + 10_000), "identifier"),
        (lambda X, y, rng: X.assign(unit="mg"), "constant"),
        (
            lambda X, y, rng: X.assign(
                ward=np.where((y == 1) & (rng.random(len(y)) < 0.2), "hospice", X.ward)
            ),
            "pure value",
        ),
        (lambda X, y, rng: X.assign(a=X.a.where((y == 0) | (rng.random(len(y)) < 0.6))), "missing"),
        (
            lambda X, y, rng: X.assign(a=np.where((y == 1) & (rng.random(len(y)) < 0.3), -999.0, X.a)),
            "missing",
        ),
        (
            lambda X, y, rng: X.assign(
                slope=np.r_[
                    np.where(rng.random(300) < 0.7, y[:300], 1 - y[:300]), y[300:400], rng.integers(0, 2, 200)
                ]
            ),
            "pure part",
        ),
    ],
    ids=lambda p: p if isinstance(p, str) else "",
)
def test_a_planted_fault_is_found(fault, expected):
    table, rng = clean(), np.random.default_rng(1)
    assert expected in checks(replace(table, X=fault(table.X, table.y, rng)))


def test_duplicates_and_conflicting_labels_are_counted():
    table = clean(n=200)
    X = pd.concat([table.X, table.X[:10]], ignore_index=True)
    y = np.r_[table.y, table.y[:7], 1 - table.y[7:10]]
    rows = audit(replace(table, X=X, y=y)).set_index("check").rows
    assert (rows["duplicates"], rows["conflicts"]) == (10, 3)


def test_rows_that_repeat_may_have_gaps():
    table = clean(n=200)
    X = table.X.assign(ward=table.X.ward.where(table.X.ward != "N"))
    X, y = pd.concat([X, X], ignore_index=True), np.r_[table.y, table.y]
    assert audit(replace(table, X=X, y=y)).set_index("check").rows["duplicates"] == 200


def test_a_file_stacked_from_two_sources_is_noticed():
    one, two = clean(0), clean(1)
    stacked = pd.concat([one.X, two.X.assign(a=two.X.a + 5)], ignore_index=True)
    assert "shift" in checks(replace(one, X=stacked, y=np.r_[one.y, two.y]))


@pytest.mark.parametrize("scale", [1e-200, 1e90])
def test_gaps_extreme_numbers_and_few_rows_are_no_obstacle(scale):
    table = clean(n=60)
    X = table.X.assign(a=table.X.a * scale, b=np.nan, ward=table.X.ward.where(table.X.ward != "N"))
    audit(replace(table, X=X))
    audit(replace(table, X=X[:4], y=np.array([0, 1, 1, 0])))


@pytest.mark.timeout(300)  # it took minutes when every column was cross-validated
@pytest.mark.parametrize("columns", [300, pytest.param(1000, marks=pytest.mark.slow)])
def test_a_wide_table_is_looked_over(columns):
    rng, y = np.random.default_rng(0), np.arange(60) % 2
    wide = pd.DataFrame(rng.normal(size=(60, columns))).rename(columns="c{}".format)
    wide = wide.assign(late=np.where(y, 2.5, 1.0), word=rng.choice(list("ab"), 60))
    findings = audit(Dataset("wide", wide, y, "t", (0, 1)))
    assert "late" in set(findings.column[findings.check == "tells all"])


def test_names_that_look_like_code_are_only_names():
    table = clean()
    odd = replace(table, X=table.X.rename(columns={"a": "a and b", "b": "{x}", "ward": "`ward`"}))
    assert len(audit(odd)) == 0


def test_the_restored_table_has_the_same_patients_and_their_hospitals():
    heart, restored = load("heart"), load("heart-restored")
    assert list(restored.X) == list(heart.X) and np.array_equal(restored.y, heart.y)
    same = (restored.X.astype(object) == heart.X.astype(object)) | restored.X.isna()
    assert same.all(axis=None) and restored.X.isna().sum()["ST_Slope"] == 307
    patients = pd.Series(restored.groups).value_counts().to_dict()
    assert patients == {"Cleveland": 304, "Hungary": 292, "VA Long Beach": 199, "Switzerland": 123}


def test_the_command_prints_sentences_writes_json_and_names_mistakes(tmp_path):
    path, command = tmp_path / "findings.json", CliRunner()
    done = command.invoke(app, ["audit", "heart", "--json", str(path)])
    assert done.exit_code == 0 and "ST_Slope decides the target" in " ".join(done.stdout.split())
    assert {"check", "column", "rows", "finding"} == set(json.loads(path.read_text())[0])
    wrong = command.invoke(app, ["audit", "heart", "--target", "Heart"])
    assert wrong.exit_code == 2 and "has no column Heart" in " ".join(wrong.stderr.split())
