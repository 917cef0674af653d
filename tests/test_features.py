"""Cleaning and recipes: what holds for any table."""

import pickle
import zipfile
from functools import cache

import numpy as np
import pandas as pd
import pytest
import skops.io as sio
from forks import answer_of
from sklearn.base import clone
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import cross_val_score
from sklearn.pipeline import make_pipeline

from mlp_bench.cleaning import Cleaner
from mlp_bench.core import InputError
from mlp_bench.data import load
from mlp_bench.features import RECIPE_VERSIONS, RECIPES, TRUSTED, SmoothScaler, recipe

HEART = load()


def mixed(n=120, seed=0):
    """A table with every kind of trouble that is not an error."""
    rng = np.random.default_rng(seed)
    frame = pd.DataFrame(
        {
            "number": rng.normal(50, 9, n),
            "whole": rng.integers(0, 99, n),
            "code": rng.integers(0, 2, n),
            "constant": 7.0,
            "few": np.nan,
            "switch": rng.choice(["on", "off"], n),
            "grade": rng.choice(["a", "b", "c", "d"], n),
            "day": [f"2024-01-01 00:{i // 60:02d}:{i % 60:02d}" for i in range(n)],
            "same": "x",
            "truth": rng.choice([True, False], n),
            "number_missing": rng.normal(size=n),
            "naïve = <name>": rng.choice(["ä", "β", "\n", ""], n),
        }
    )
    frame.loc[rng.choice(n, 9, False), ["number", "grade", "switch"]] = np.nan
    frame.loc[3, "few"] = 1.5
    return frame


TABLES = {
    "heart": HEART.X,
    "mixed": mixed(),
    "numeric only": mixed()[["number", "whole"]],
    "one constant": mixed()[["constant"]],
    "categorical only": mixed()[["grade", "day"]],
    "one switch": mixed()[["switch"]],
    "one level": mixed()[["same"]],
    "dates only": mixed()[["day"]],
    "two rows": mixed().head(2),
    "one row": mixed().iloc[[3]],
}
each = pytest.mark.parametrize("table", TABLES)
either = pytest.mark.parametrize("name", RECIPES)


@cache
def fitted(name, table="heart"):
    "A recipe that several tests look at, and none changes"
    return recipe(name).fit(TABLES[table])


@each
@either
def test_a_recipe_gives_finite_floats_with_names(name, table):
    X, pipeline = TABLES[table], fitted(name, table)
    Z = pipeline.transform(X)
    assert Z.dtype == np.float64
    assert Z.shape == (len(X), len(pipeline.get_feature_names_out()))
    assert np.isfinite(Z).all()
    assert Z.shape[1] <= 25 * X.shape[1]


@each
@either
def test_a_row_alone_is_the_row_in_its_batch(name, table):
    X, pipeline = TABLES[table], fitted(name, table)
    together = pipeline.transform(X)
    for i in {0, len(X) // 2, len(X) - 1}:
        np.testing.assert_array_equal(pipeline.transform(X.iloc[[i]])[0], together[i])
    np.testing.assert_array_equal(pipeline.transform(X[::-1])[::-1], together)


@each
@either
def test_a_recipe_survives_skops_pickle_and_clone(name, table):
    X, pipeline = TABLES[table], fitted(name, table)
    stored, Z = sio.dumps(pipeline, compression=zipfile.ZIP_DEFLATED), pipeline.transform(X)
    copies = sio.loads(stored, trusted=TRUSTED), pickle.loads(pickle.dumps(pipeline)), clone(pipeline).fit(X)
    for back in copies:
        np.testing.assert_array_equal(back.transform(X), Z)
        assert list(back.get_feature_names_out()) == list(pipeline.get_feature_names_out())


def test_a_stored_recipe_is_small_and_needs_exactly_the_trusted_types():
    stored = [sio.dumps(fitted(name), compression=zipfile.ZIP_DEFLATED) for name in RECIPES]
    needed = set().union(*(sio.get_untrusted_types(data=s) for s in stored))
    assert needed <= set(TRUSTED)
    assert set(TRUSTED) - needed <= {"numpy.dtype"}
    assert max(map(len, stored)) < 12_000
    with pytest.raises(Exception, match="Untrusted"):
        sio.loads(stored[0], trusted=[])


def sum_of_stored(path):
    return sio.load(path, trusted=TRUSTED).transform(load().X).sum()


def test_a_stored_recipe_opens_in_a_new_process(tmp_path):
    pipeline = recipe("seed").fit(HEART.X)
    sio.dump(pipeline, tmp_path / "p.skops", compression=zipfile.ZIP_DEFLATED)
    assert answer_of(sum_of_stored, tmp_path / "p.skops") == pipeline.transform(HEART.X).sum()


@either
def test_rows_that_are_not_fitted_have_no_influence(name):
    spoilt = HEART.X.copy()
    spoilt.loc[500:, ["MaxHR", "Oldpeak"]] = 1e9
    spoilt.loc[500:, ["Sex", "ST_Slope"]] = "?"
    one, two = recipe(name).fit(HEART.X[:500]), recipe(name).fit(spoilt[:500])
    np.testing.assert_array_equal(one.transform(HEART.X), two.transform(HEART.X))


@either
def test_the_outcome_has_no_influence(name):
    np.testing.assert_array_equal(
        recipe(name).fit(HEART.X, HEART.y).transform(HEART.X),
        recipe(name).fit(HEART.X, 1 - HEART.y).transform(HEART.X),
    )


@either
@pytest.mark.parametrize(
    "change",
    [
        {"Sex": "other"},
        {"ChestPainType": None},
        {"ST_Slope": "Sideways"},
        {"MaxHR": np.nan},
        {"MaxHR": None},
        {"MaxHR": ""},
        {"Age": 220},
        {"Age": 0},
        {"Age": -9e99},
        {"Cholesterol": 1e99},
        {"Cholesterol": "289"},
        {"FastingBS": True},
        {"RestingBP": 0},
        {"ExerciseAngina": 1.0},
    ],
)
def test_unforeseen_values_become_finite_numbers(change, name):
    pipeline = fitted(name)
    for rows in 1, 5:
        Z = pipeline.transform(HEART.X.head(rows).assign(**{k: [v] * rows for k, v in change.items()}))
        assert np.isfinite(Z).all() and np.abs(Z).max() <= 10


@either
def test_an_entirely_empty_patient_is_finite(name):
    empty = pd.DataFrame({c: [None] for c in HEART.X})
    assert np.isfinite(fitted(name).transform(empty)).all()


@either
def test_order_and_extra_columns_do_not_matter(name):
    pipeline = fitted(name)
    np.testing.assert_array_equal(
        pipeline.transform(HEART.X[HEART.X.columns[::-1]].assign(note="?")), pipeline.transform(HEART.X)
    )


@pytest.mark.parametrize(
    "spoil, expected",
    [
        (lambda X: X.drop(columns="Age"), "column Age is not in the table"),
        (lambda X: X.rename(columns={"Sex": "sex"}), "column Sex is not in the table"),
        (lambda X: X.assign(Age="old"), "column Age is numeric, but 'old'"),
        (lambda X: X.assign(Age=np.inf), "column Age is numeric, but 'inf'"),
        (lambda X: X.head(0), "no rows"),
        (lambda X: X.to_numpy(), "DataFrame"),
        (lambda X: pd.concat([X, X], axis=1), "more than once"),
    ],
)
@either
def test_a_table_that_does_not_fit_is_refused_in_one_sentence(name, spoil, expected):
    pipeline = fitted(name)
    with pytest.raises(InputError, match=expected) as caught:
        pipeline.transform(spoil(HEART.X))
    assert "\n" not in str(caught.value)


@either
def test_codes_are_the_same_category_however_pandas_spells_them(name):
    frame = pd.DataFrame({"code": pd.Series([1, 2, "x", 1, 2, "x"] * 9, dtype=object), "n": np.arange(54.0)})
    pipeline = recipe(name).fit(frame)
    one = frame.head(1)
    for spelling in 1, 1.0, "1", np.int32(1):
        other = one.assign(code=pd.Series([spelling], dtype=object))
        np.testing.assert_array_equal(pipeline.transform(other), pipeline.transform(one))


def test_the_derived_features_leave_a_table_that_has_them_alone():
    X = HEART.X.assign(CholesterolPerAge=1.0, HeartRateRatio="text", SexFastingBSShare=3)
    pipeline = recipe("seed").fit(X)
    assert pipeline.transform(X).shape[1] == len(pipeline.get_feature_names_out())


def test_recipes_have_versions_and_unknown_ones_are_listed():
    assert set(RECIPES) == set(RECIPE_VERSIONS) == {"standard", "robust", "rich", "seed"}
    message = "Unknown recipe 'best': choose one of standard, robust, rich, seed"
    with pytest.raises(InputError, match=message):
        recipe("best")


@either
def test_a_recipe_works_inside_cross_validation(name):
    model = make_pipeline(recipe(name), LogisticRegression(max_iter=500))
    assert cross_val_score(model, HEART.X, HEART.y, cv=3, scoring="roc_auc", error_score="raise").mean() > 0.8


# ---- the robust scale

WILD = np.array([[0.0], [1], [2], [3], [4], [1e9]])


def test_the_robust_scale_knows_no_units():
    for factor, shift in (1e-9, 0), (1000, -7), (1e6, 1e5):
        np.testing.assert_allclose(
            SmoothScaler().fit_transform(WILD * factor + shift), SmoothScaler().fit_transform(WILD), atol=1e-6
        )


def test_the_robust_scale_keeps_order_and_stays_within_three():
    z = SmoothScaler().fit(WILD).transform(np.array([[-1e99], [-50], [0], [2.5], [7], [50], [1e4]])).ravel()
    assert (np.diff(z) > 0).all() and np.abs(z).max() <= 3 and abs(z[3]) < 1e-12


def test_one_wild_value_moves_the_robust_scale_little():
    calm, wild = np.arange(101.0)[:, None], np.arange(101.0)[:, None]
    wild[-1] = 1e12
    assert abs(SmoothScaler().fit(calm).scale_ / SmoothScaler().fit(wild).scale_ - 1) < 0.05


@pytest.mark.parametrize(
    "values, largest",
    [([0.0] * 9 + [8.0], 2.0), ([0.0] * 9 + [1e-6], 2.0), ([5.0] * 10, 0.0), ([0.0] * 8 + [1.0] * 2, 2.0)],
)
def test_a_column_without_spread_in_the_middle_is_still_scaled(values, largest):
    z = SmoothScaler().fit_transform(np.array(values)[:, None])
    assert z.max() == pytest.approx(largest / np.sqrt(1 + (largest / 3) ** 2)) and np.isfinite(z).all()


def test_robust_and_standard_differ_in_the_scale_of_numbers_only():
    X = TABLES["mixed"]
    one, two = recipe("standard").fit(X), recipe("robust").fit(X)
    names = list(one.get_feature_names_out())
    assert names == list(two.get_feature_names_out())
    same = [i for i, n in enumerate(names) if not n.startswith("scaled__")]
    assert 0 < len(same) < len(names)
    np.testing.assert_array_equal(one.transform(X)[:, same], two.transform(X)[:, same])


def test_gaps_are_told_in_numbers_and_in_categories_alike():
    names = [n.split("__", 1)[1] for n in recipe("robust").fit(TABLES["mixed"]).get_feature_names_out()]
    assert {"number_missing_", "grade_missing", "switch_missing"} <= set(names)


# ---- the cleaner


def test_bounds_are_learned_in_fit():
    train, wild = pd.DataFrame({"x": np.arange(100.0)}), pd.DataFrame({"x": [1e6]})
    q1, q3 = np.quantile(np.arange(100.0), [0.25, 0.75])

    def cleaned(**options):
        return Cleaner(**options).fit(train).transform(wild).x.item()

    assert cleaned() == 1e6
    assert cleaned(outliers="iqr") == pytest.approx(q3 + 1.5 * (q3 - q1))
    assert cleaned(outliers="iqr", iqr_factor=3) == pytest.approx(q3 + 3 * (q3 - q1))


def test_a_rare_code_is_not_an_outlier():
    assert Cleaner(outliers="iqr").fit_transform(pd.DataFrame({"x": [0.0] * 90 + [1.0] * 10})).x.sum() == 10


def test_impossible_values_are_gaps_and_the_list_can_be_changed():
    frame = pd.DataFrame({"Cholesterol": [0, 200, 300], "glucose": [-1, 90, 100]})
    assert list(Cleaner().fit_transform(frame).columns) == ["Cholesterol", "glucose", "Cholesterol_missing"]
    other = Cleaner(impossible={"glucose": -1}).fit_transform(frame)
    assert other.glucose[0] == 95 and other.Cholesterol[0] == 0 and list(other.glucose_missing) == [1, 0, 0]


def test_indicators_belong_to_columns_with_gaps_in_training():
    train = pd.DataFrame({"a": [1.0, None, 3.0], "b": [1.0, 2.0, 3.0]})
    later = pd.DataFrame({"a": [5.0], "b": [None]})
    cleaner = Cleaner().fit(train)
    assert cleaner.transform(later).to_dict("records") == [{"a": 5.0, "b": 2.0, "a_missing": 0}]
    for other in Cleaner(indicators=False), Cleaner(min_missing=2):
        assert list(other.fit(train).transform(later)) == ["a", "b"]


def test_a_column_without_a_single_value_in_training_becomes_zero():
    assert Cleaner().fit_transform(pd.DataFrame({"a": [np.nan, np.nan], "b": [1, 2]})).a.tolist() == [0, 0]


def test_learned_state_is_plain():
    state = {k: v for k, v in vars(Cleaner(outliers="iqr").fit(mixed())).items() if k.endswith("_")}

    def plain(v):
        if isinstance(v, list):
            return all(map(plain, v))
        if isinstance(v, dict):
            return all(map(plain, [*v, *v.values()]))
        return type(v) in (str, int, float)

    assert state and all(map(plain, state.values()))


def test_cleaning_leaves_its_input_alone():
    frame = mixed()
    before = frame.copy(deep=True)
    Cleaner(outliers="iqr").fit(frame).transform(frame)
    pd.testing.assert_frame_equal(frame, before)


def test_nullable_and_categorical_types_are_understood():
    frame = pd.DataFrame(
        {
            "i": pd.array([1, None, 3], dtype="Int64"),
            "b": pd.array([True, None, False], dtype="boolean"),
            "c": pd.Categorical(["u", None, "v"]),
            "s": pd.array(["p", None, "q"], dtype="string"),
        }
    )
    clean = Cleaner().fit_transform(frame)
    assert clean.i.tolist() == [1, 2, 3]
    assert clean.b.tolist() == ["True", "missing", "False"]
    assert clean.c.tolist() == ["u", "missing", "v"]
    assert clean.s.tolist() == ["p", "missing", "q"]


@pytest.mark.parametrize(
    "options",
    [
        {"outliers": "zscore"},
        {"iqr_factor": 0},
        {"iqr_factor": -1},
        {"indicators": "yes"},
        {"impossible": ["Age"]},
        {"min_missing": 0},
    ],
)
def test_a_wrong_option_is_named(options):
    with pytest.raises(ValueError, match=next(iter(options))):
        Cleaner(**options).fit(HEART.X)
