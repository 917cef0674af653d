"""A target says which task it is, can be overruled, and is refused in one sentence; all tasks are audited."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from sklearn.datasets import load_diabetes, load_iris, load_wine

from mlp_bench.config import TASKS, Config
from mlp_bench.core import InputError
from mlp_bench.data import Dataset, dataset_of, load
from mlp_bench.eda import audit
from mlp_bench.features import RECIPES, recipe

rng = np.random.default_rng(0)
ROWS = 240
EURO = [f"{1_000 + i:,}.50".translate(str.maketrans(",.", ".,")) + " €" for i in range(ROWS)]


def table(cells, **others):
    "A column of noise and the target"
    return pd.DataFrame({"a": np.random.default_rng(1).normal(size=len(cells)), **others, "t": cells})


def read(cells, how, folder, **options):
    "The target by way of a DataFrame, or of a file"
    if how == "frame":
        return load(table(cells), "t", **options)
    path = folder / f"t.{how}"
    table(cells).to_csv(path, index=False) if how == "csv" else table(cells).to_parquet(path)
    return load(path, "t", **options)


def refusal(cells, *args, **options):
    with pytest.raises(InputError) as caught:
        read(cells, *args, **options)
    text = str(caught.value)
    assert "\n" not in text and text.endswith(".") and len(text) < 400
    return text


def cycle(*labels):
    return [labels[i % len(labels)] for i in range(ROWS)]


# ---- what a target says

SAYS = {
    "words": (cycle("rose", "aster", "lily"), "multiclass", ("aster", "lily", "rose")),
    "a hundred words": (cycle(*(f"w{i:02}" for i in range(100))), "multiclass", 100),
    "booleans": (cycle(True, False), "binary", ("False", "True")),
    "two fractions": (cycle(0.5, 1.5), "binary", (0.5, 1.5)),
    "two numbers in disguise": (cycle("1,5", "2,5"), "binary", ("1,5", "2,5")),
    "three whole numbers": (cycle(7, 1, 30), "multiclass", (1, 7, 30)),
    "ten whole numbers": (cycle(*range(10)), "multiclass", tuple(range(10))),
    "ten with a point": (cycle(*np.arange(10.0)), "multiclass", tuple(range(10))),
    "eleven whole numbers": (cycle(*range(11)), "regression", None),
    "fractions": (cycle(0.5, 1, 2), "regression", None),
    "tiny amounts": (list(rng.normal(size=ROWS) * 1e-9), "regression", None),
    "huge amounts": (list(rng.normal(size=ROWS) * 1e9), "regression", None),
    "euros": (EURO, "regression", None),
    "three prices": (cycle("$12.50", "$13.50", "$14.00"), "regression", None),
    "shares": (cycle("10 %", "20 %", "30 %"), "multiclass", (10, 20, 30)),
    "ages": (cycle("18-25", "26-35", "36+"), "multiclass", ("18-25", "26-35", "36+")),
}


@pytest.mark.parametrize("how", ["csv", "parquet", "frame"])
@pytest.mark.parametrize("case", SAYS)
def test_a_target_says_its_task_in_any_container(case, how, tmp_path):
    cells, task, classes = SAYS[case]
    data = read(cells, how, tmp_path)
    assert data.task == task
    if task == "regression":
        assert data.classes is None and data.y.dtype == np.float64
    else:
        assert data.classes == classes or len(data.classes) == classes
        assert data.y.dtype == np.int64 and set(data.y) == set(range(len(data.classes)))


@pytest.mark.parametrize("case", ["tiny amounts", "huge amounts", "fractions", "eleven whole numbers"])
@pytest.mark.parametrize("how", ["csv", "frame"])
def test_amounts_are_what_stands_in_the_cells(case, how, tmp_path):
    cells = SAYS[case][0]
    assert read(cells, how, tmp_path).y.tolist() == cells


def test_amounts_in_disguise_are_their_numbers_and_the_disguise_is_said(tmp_path):
    data = read(EURO, "csv", tmp_path)
    assert data.y.tolist() == [1_000.5 + i for i in range(ROWS)]
    assert {"t: € left out", "t: decimal comma"} <= set(data.assumed)


@pytest.mark.parametrize("count", [3, 7, 50, 100])
@pytest.mark.parametrize("kind", [str, int, float])
def test_codes_are_the_places_of_the_labels_in_sorted_order(count, kind):
    labels = sorted({kind(n) for n in rng.choice(5_000, 3 * count, replace=False)})[:count]
    cells = [labels[i] for i in rng.permutation(np.arange(4 * count) % count)]
    cells = [f"w{cell}" for cell in cells] if kind is str else cells
    data = load(table(cells), "t", task="multiclass")
    assert list(data.classes) == sorted(set(cells))
    assert [data.classes[code] for code in data.y] == cells


def test_a_rare_class_is_a_class():
    assert load(table([*cycle("a", "b"), "c"]), "t").classes == ("a", "b", "c")


@pytest.mark.parametrize("labels", [range(15), (0.5, 1.5, 2.5), "abc", (1, 2)])
def test_categories_of_pandas_are_classes_whatever_they_look_like(labels):
    data = load(table(pd.Categorical(cycle(*labels))), "t")
    assert data.classes == tuple(labels) and data.assumed == ()


# ---- what was assumed is said


@pytest.mark.parametrize("case", SAYS)
def test_a_note_is_made_of_a_guess_and_of_nothing_else(case, tmp_path):
    notes = [note for note in read(SAYS[case][0], "csv", tmp_path).assumed if "taken for" in note]
    wholes = {"three whole numbers": 3, "ten whole numbers": 10, "ten with a point": 10, "shares": 3}
    if case in wholes:
        n = wholes[case]
        assert notes == [f"t: {n} whole numbers taken for classes, which --task regression makes amounts"]
    elif case == "eleven whole numbers":
        assert notes == ["t: whole numbers taken for amounts, which --task multiclass makes classes"]
    else:
        assert not notes


@pytest.mark.parametrize("task", ["multiclass", "regression"])
@pytest.mark.parametrize("count", [3, 10, 11, 100])
def test_who_names_the_task_gets_it_without_a_note(task, count):
    data = load(table(cycle(*range(count))), "t", task=task)
    assert data.task == task and data.assumed == ()


def test_a_word_for_missing_among_labels_is_a_label_and_said():
    data = load(table(cycle("yes", "no", "?")), "t")
    assert data.classes == ("?", "no", "yes") and data.assumed == ("t: ? taken for a class",)


def test_a_word_for_missing_among_numbers_is_a_gap(tmp_path):
    cells = cycle("1", "2", "3", "?")
    assert "missing in line 5 (the word ? is read as that)" in refusal(cells, "csv", tmp_path)
    assert read(cells, "csv", tmp_path, drop_unlabelled=True).classes == (1, 2, 3)


def test_the_task_comes_with_the_configuration():
    frame = table(cycle(1, 2, 3))
    assert dataset_of(Config(target="t", task="regression"), frame).task == "regression"
    assert dataset_of(Config(target="t"), frame).task == "multiclass"


# ---- what is refused

REFUSED = {
    "the same everywhere": ([7.5] * 9, {}, "t is 7.5 in every row"),
    "the same, as an amount": ([7.5] * 9, dict(task="regression"), "in every row"),
    "the same, as a class": (["x"] * 9, dict(task="multiclass"), "in every row"),
    "the same as numbers of the computer": ([2**60 + i for i in range(12)], {}, "in every row"),
    "infinite": (cycle(1.5, 2.5, np.inf), {}, "infinite or absurdly large"),
    "infinite, in words": (cycle("1.5", "2.5", "inf"), {}, "infinite or absurdly large"),
    "dates": ([f"2024-01-{day:02}" for day in range(1, 32)], {}, "is a date"),
    "dates as amounts": ([f"2024-01-{day:02}" for day in range(1, 32)], dict(task="regression"), "is a date"),
    "text as an amount": (cycle("a", "b", "c"), dict(task="regression"), "leave out --task regression"),
    "too many words among numbers": ([*map(str, range(200)), *"abcd"], {}, "though 98% of it are numbers"),
    "three labels for two": (cycle("a", "b", "c"), dict(task="binary"), "exactly two are needed"),
    "two labels for many": (cycle("a", "b"), dict(task="multiclass"), "leave out --task multiclass"),
    "101 classes": (list(range(101)) * 2, dict(task="multiclass"), "100 classes are the most"),
    "names": ([f"name {i}" for i in range(101)], {}, "100 classes are the most"),
    "a positive of many": (cycle("a", "b", "c"), dict(positive="a"), "leave out --positive"),
    "a positive amount": (cycle(0.5, 1.5, 3), dict(positive="1.5"), "leave out --positive"),
    "an unknown task": (cycle("a", "b"), dict(task="clusters"), "choose one of " + ", ".join(TASKS)),
    "no task at all": (cycle("a", "b"), dict(task=["binary"]), "choose one of"),
}


@pytest.mark.parametrize("how", ["csv", "frame"])
@pytest.mark.parametrize("case", REFUSED)
def test_a_target_that_cannot_have_the_task_gets_one_sentence(case, how, tmp_path):
    cells, options, expected = REFUSED[case]
    assert expected in refusal(cells, how, tmp_path, **options)


@pytest.mark.parametrize("task", [None, "binary"])
def test_two_labels_with_a_positive_one_are_as_they_were(task):
    data = load(table(cycle("no", "yes")), "t", positive="no", task=task)
    assert data.classes == ("yes", "no") and data.task == "binary"


def test_two_values_may_be_amounts():
    assert load(table(cycle(0, 1)), "t", task="regression").y.tolist() == cycle(0.0, 1.0)


# ---- fingerprints and words about a table

FINGERPRINTS = {  # as they were before there were other tasks: a change makes stored results unfindable
    "words": (("no", "yes"), "09bb8a4f606a2efbcd7cf34261eac6cd9bf27edd1435bad13e3a85d42d96cafe"),
    "numbers": ((0, 1), "02b1960d5860cca66a7880389b1971bcbf6af869438a34ec3edbc558a2510877"),
    "fractions": ((0.5, 1.5), "d25cab935786af986f2c35482dba38e4c8b2c33e597721023c32f5420e5088c0"),
    "disguised": (("1,5", "2,5"), "0a812a9a4f60b5703ea520a6e1bdfbf3e5342f296e3c72ee3258995df6f26947"),
    "missing": (("None", "ill"), "93350ef5939d8f2f625fc5dbc5d81e60849d77ed93d136b64610bba44f9c70ec"),
}


@pytest.mark.parametrize("case", FINGERPRINTS)
def test_tables_of_two_classes_keep_their_fingerprint(case):
    labels, expected = FINGERPRINTS[case]
    frame = pd.DataFrame({"a": range(6), "b": list("uvuvuw"), "t": [*labels] * 3})
    assert load(frame, "t").fingerprint == expected
    assert load(frame, "t", task="binary").fingerprint == expected


def test_every_task_has_a_fingerprint_of_its_own():
    frame = table(cycle(1, 2, 3))
    classes, amounts = load(frame, "t"), load(frame, "t", task="regression")
    words = load(frame.assign(t=frame.t.map(str) + "x"), "t")
    moved = load(frame.assign(t=[1, 2, 4, *frame.t[3:]]), "t", task="regression")
    assert len({data.fingerprint for data in (classes, amounts, words, moved)}) == 4
    assert load(frame.assign(t=frame.t.astype(float)), "t").fingerprint == classes.fingerprint


def test_the_task_follows_from_the_labels():
    X = pd.DataFrame({"a": [1, 2, 3]})
    assert Dataset("x", X, np.array([0, 1, 0]), "t", ("a", "b")).task == "binary"
    assert Dataset("x", X, np.array([0, 1, 2]), "t", ("a", "b", "c")).task == "multiclass"
    assert Dataset("x", X, np.array([0.5, 1, 2]), "t", None).task == "regression"


@pytest.mark.parametrize(
    "cells, said",
    [
        (cycle("no", "yes"), "t is yes in 120, no in 120"),
        (cycle("a", "b", "c"), "t is a in 80, b in 80, c in 80"),
        (cycle(*"abcdef"), "t is a in 40, b in 40, c in 40, d in 40, e in 40, …"),
        (cycle(0.5, 1.5, 2.5), "t is 1.500 on average, from 0.5000 to 2.500"),
        (cycle(1e-9, 2e-9, 3e-9), "t is 2e-09 on average, from 1e-09 to 3e-09"),
    ],
)
def test_a_table_says_what_it_predicts(cells, said):
    assert said in repr(load(table(cells), "t"))


# ---- recipes


@pytest.mark.parametrize("name", RECIPES)
def test_recipes_do_not_care_what_is_predicted(name):
    others = dict(word=cycle("u", "v", "w"), gap=[np.nan, *range(1, ROWS)])
    outputs = [
        recipe(name).fit_transform(data.X, data.y)
        for data in (load(table(SAYS[case][0], **others), "t") for case in ("words", "booleans", "fractions"))
    ]
    for output in outputs:
        assert np.array_equal(output, outputs[0])


# ---- the audit

FRAMES = {
    "two": lambda: load(load_wine(as_frame=True).frame.query("target < 2"), "target"),
    "many": lambda: load(load_wine(as_frame=True).frame, "target"),
    "amounts": lambda: load(load_diabetes(as_frame=True).frame, "target"),
}


@pytest.fixture(scope="module", params=FRAMES)
def shuffled(request):
    "A table of each task whose rows stand in no order"
    data = FRAMES[request.param]()
    order = np.random.default_rng(2).permutation(len(data.y))
    return replace(data, X=data.X.iloc[order].reset_index(drop=True), y=data.y[order])


def checks(data):
    return set(audit(data).check)


def test_a_clean_table_of_any_task_gives_no_alarm(shuffled):
    assert len(audit(shuffled)) == 0


def test_shuffled_targets_leave_nothing_to_find(shuffled):
    assert len(audit(replace(shuffled, y=np.random.default_rng(3).permutation(shuffled.y)))) == 0


def high(data):
    "The rows of the last class, or of the upper half of the amounts"
    return data.y > np.median(data.y) if data.task == "regression" else data.y == data.y.max()


PLANTED = {
    "tells all": lambda data: dict(late=np.exp(data.y / data.y.max())),
    "missing": lambda data: dict(
        late=data.X.iloc[:, 0].mask(high(data) & (np.random.default_rng(6).random(len(data.y)) < 0.7))
    ),
    "identifier": lambda data: dict(record=rng.permutation(len(data.y))),
}


@pytest.mark.parametrize("check", PLANTED)
def test_a_planted_fault_is_found_in_any_task(check, shuffled):
    assert check in checks(replace(shuffled, X=shuffled.X.assign(**PLANTED[check](shuffled))))


def test_a_file_in_the_order_of_its_target_is_noticed(shuffled):
    order = np.argsort(shuffled.y, kind="stable")
    turned = replace(shuffled, X=shuffled.X.iloc[order].reset_index(drop=True), y=shuffled.y[order])
    assert "shift" in checks(turned)


@pytest.mark.parametrize("classes", ["uv", "uvw", None])
def test_a_column_that_decides_in_a_part_of_the_file_is_found(classes):
    r, n = np.random.default_rng(4), 600
    half = r.permutation(np.arange(n) % len(classes or "ab"))
    honest = np.where(r.random(n) < 0.6, half, r.permutation(half))
    hint = np.array(list("abc"))[np.where(np.arange(n) < 150, half, honest)]
    y = half if classes else half + 0.9 * r.random(n)
    data = Dataset("x", pd.DataFrame({"hint": hint, "noise": r.normal(size=n)}), y, "t", classes)
    findings = audit(data)
    assert "hint" in set(findings[findings.check == "pure part"].column)
    assert "pure part" not in checks(replace(data, y=r.permutation(y)))


def test_equal_rows_with_different_targets_are_counted(shuffled):
    X = pd.concat([shuffled.X, shuffled.X[:10]], ignore_index=True)
    amounts, other = shuffled.task == "regression", shuffled.y[7:10]
    other = other + 2.5 if amounts else (other + 1) % len(shuffled.classes)
    findings = audit(replace(shuffled, X=X, y=np.r_[shuffled.y, shuffled.y[:7], other])).set_index("check")
    assert (findings.rows["duplicates"], findings.rows["conflicts"]) == (10, 3)
    said = {"binary": "both labels", "multiclass": "different labels", "regression": "2.500 apart in"}
    assert said[shuffled.task] in findings.finding["conflicts"]


def test_a_value_with_one_label_or_one_amount_is_named(shuffled):
    ward = np.where(high(shuffled), "icu", rng.choice(["a", "b"], len(shuffled.y)))
    y = shuffled.y
    if shuffled.task == "regression":
        y = np.where(high(shuffled), 80.0, y)
    findings = audit(replace(shuffled, X=shuffled.X.assign(ward=ward), y=y))
    said = {"binary": "positive", "multiclass": "2", "regression": "80"}[shuffled.task]
    assert any(f"the target is always {said} there" in text for text in findings.finding)


@pytest.mark.parametrize("scale", [1e-9, 1.0, 1e9])
def test_the_unit_of_an_amount_does_not_matter(scale):
    data = FRAMES["amounts"]()
    X = data.X.assign(late=np.exp(data.y / 100))
    assert set(audit(replace(data, X=X, y=data.y * scale)).column) == {"late"}


@pytest.mark.parametrize("y", [np.zeros(60), np.r_[np.zeros(59), 1.0], np.arange(60) % 3, np.arange(60) % 50])
@pytest.mark.parametrize("rows", [3, 60])
def test_few_rows_rare_classes_and_equal_amounts_are_no_obstacle(y, rows):
    classes = None if y.dtype == float else tuple(range(y.max() + 1))
    X = pd.DataFrame({"a": np.arange(60) % 7, "b": [np.nan, 1, 2] * 20, "c": list("uvwxyz") * 10})
    audit(Dataset("x", X[:rows], y[:rows], "t", classes))


@pytest.mark.timeout(300)
def test_a_hundred_classes_are_looked_over():
    r, n = np.random.default_rng(5), 6_000
    y = r.integers(0, 100, n)
    X = pd.DataFrame(r.normal(size=(n, 8))).rename(columns="c{}".format)
    X = X.assign(word=r.choice(list("abc"), n), late=np.exp(r.permutation(100)[y] / 50))
    assert set(audit(Dataset("x", X, y, "t", tuple(range(100)))).column) == {"late"}


def test_the_species_of_iris_are_named_by_their_labels():
    frame = load_iris(as_frame=True).frame
    frame["target"] = frame.target.map(dict(enumerate(["setosa", "versicolor", "virginica"])))
    findings = audit(load(frame, "target")).finding
    assert any("how often the target is setosa, from 0% to 100%" in text for text in findings)
