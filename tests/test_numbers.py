"""Odd numbers in, sound probabilities out: or an error that says what diverged."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from sklearn.preprocessing import StandardScaler

from mlp_bench import output
from mlp_bench.core import InputError
from mlp_bench.estimators import NumpyMLPClassifier
from mlp_bench.data import Dataset
from mlp_bench.features import RECIPES
from mlp_bench.config import Config
from mlp_bench.evaluation import evaluate, splits
from mlp_bench.manager import run
from mlp_bench.models import final_model
from mlp_bench.numpy_mlp import ACTIVATIONS, OPTIMIZERS, DivergenceError

ROOT = Path(__file__).resolve().parents[1]
N = 80
rng = np.random.default_rng(6)
Y = np.arange(N) % 2
Z = rng.normal(size=(N, 3)) + Y[:, None]
RARE = (np.arange(200) < 2).astype(int)
BIG = 2**53 + 2 * np.arange(N)[:, None] * 1024

TABLES = {
    "constant": (np.full((N, 2), 7.0), Y),
    "one constant among others": (np.column_stack([Z, np.full(N, 7.0)]), Y),
    "separable": (np.column_stack([Y * 2.0 - 1, Z]), Y),
    "single feature": (Z[:, :1], Y),
    "the label itself": (Y[:, None].astype(float), Y),
    "99 to 1": (rng.normal(size=(200, 3)) + 2 * RARE[:, None], RARE),
    "1e-30": (Z * 1e-30, Y),
    "1e30": (Z * 1e30, Y),
    "1e-300": (Z * 1e-300, Y),
    "1e99": (Z * 1e99, Y),
    "all scales at once": (Z[:, :1] * 10.0 ** np.arange(-30, 31, 10), Y),
    "far from zero": (Z + 1e12, Y),
    "beyond 2^53": (BIG.astype(float), Y),
    "one wild value": (np.vstack([Z[:-1], [1e90, -1e90, 0]]), Y),
    "denormal": (np.full((N, 1), 5e-324) * (1 + Y[:, None]), Y),
    "duplicated rows": (np.repeat(Z[:4], N // 4, axis=0), Y),
    "more columns than rows": (rng.normal(size=(20, 300)), Y[:20]),
}
WHOLE = {"beyond 2^53": BIG, "beyond 2^53 text": (2**53 + np.arange(N)[:, None]).astype(str).astype(object)}


def sound(p):
    assert np.isfinite(p).all() and (p >= 0).all() and (p <= 1).all(), p


def probabilities(X, y, **settings):
    "Those of a network on standardised inputs, checked; None where training diverged and said so"
    X = StandardScaler().fit_transform(X)
    try:
        net = NumpyMLPClassifier(**{**dict(epochs=3, random_state=0), **settings}).fit(X, y)
    except DivergenceError as error:
        assert "learning_rate" in str(error) and len(str(error).splitlines()) == 1
        return None
    p = net.predict_proba(X)
    sound(p)
    np.testing.assert_allclose(p.sum(axis=1), 1, atol=1e-12)
    return p


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("table", TABLES)
def test_any_table_gives_sound_probabilities(table, dtype):
    assert probabilities(*TABLES[table], dtype=dtype) is not None


def dataset(X, y):
    return Dataset("table", pd.DataFrame(X).rename(columns="c{}".format), y, "t", (0, 1))


@pytest.mark.parametrize("recipe", RECIPES)
@pytest.mark.parametrize("table", [*TABLES, *WHOLE])
def test_any_table_passes_every_recipe(table, recipe):
    data = dataset(WHOLE[table], Y) if table in WHOLE else dataset(*TABLES[table])
    folds, oof, curve = evaluate(Config(recipe=recipe, plan="cv:2", epochs=2, hidden_layer_sizes=(4,)), data)
    sound(oof.p)
    assert np.isfinite(curve).all() and folds.roc_auc.between(0, 1).all()
    assert np.isfinite(folds.drop(columns="roc_auc").to_numpy(float)).all()


@pytest.mark.parametrize("recipe", RECIPES)
def test_a_new_row_may_be_far_from_all_that_was_seen(recipe):
    "Nearly constant columns, in which a new value is 1e400 ranges away"
    old = np.where(np.arange(N)[:, None] == 3, [1e-300, 1e-320, 1e-30, 1.0], 0.0)
    model = final_model(Config(recipe=recipe, epochs=2, hidden_layer_sizes=(4,)), dataset(old, Y))
    for value in 1e100, -1e100, 1e-300, 0.0:
        rows = pd.DataFrame(np.full((2, 4), value)).rename(columns="c{}".format)
        sound(model.predict(rows).p)


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_an_absurd_learning_rate_diverges_in_words_or_not_at_all(activation, optimizer):
    precise = dict(dtype="float64", ensemble=2, early_stopping=True)
    for settings in dict(), dict(weight_decay=1.0, average_last=0.5), precise:
        settings |= dict(activation=activation, optimizer=optimizer, epochs=30)
        for rate in 1e3, 1e30:
            probabilities(Z, Y, learning_rate=rate, **settings)


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_every_activation_and_optimiser_learns_at_its_usual_rate(activation, optimizer):
    assert probabilities(Z, Y, activation=activation, optimizer=optimizer, learning_rate=1e-2) is not None


@pytest.mark.parametrize("dropout", [0.0, 0.2, 0.99])
def test_ten_thousand_epochs_on_twenty_rows(dropout):
    p = probabilities(Z[:20], Y[:20], epochs=10_000, dropout=dropout, hidden_layer_sizes=(8,))
    assert p is not None and (dropout or ((p[:, 1] > 0.5) == Y[:20]).all())


@pytest.mark.parametrize("weight", [None, "balanced"])
def test_a_class_of_one_in_a_hundred(weight):
    X, y = TABLES["99 to 1"]
    p = probabilities(X, y, class_weight=weight, epochs=300, dropout=0.0)
    assert p[y == 1, 1].mean() > p[y == 0, 1].mean()


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_inputs_that_were_never_scaled(optimizer):
    "The estimator alone, without a recipe, as someone may use it"
    for scale in 1e-30, 1e10, 1e30, 1e37:
        net = NumpyMLPClassifier(epochs=3, optimizer=optimizer, random_state=0)
        try:
            sound(net.fit(Z * scale, Y).predict_proba(Z * scale))
        except DivergenceError:
            pass


# ---- the same seed, the same bits

CODE = """
import hashlib, numpy as np, sys
from mlp_bench.estimators import NumpyMLPClassifier
from mlp_bench.data import load
from mlp_bench.config import Config
from mlp_bench.evaluation import evaluate
from mlp_bench.models import final_model
data, digest = load(), hashlib.sha256()
for call in range(int(sys.argv[1])):
    digest = hashlib.sha256()
    digest.update(evaluate(Config(plan="cv:3", epochs=2), data)[1].p.to_numpy().tobytes())
    X, y = np.random.default_rng(0).normal(size=(600, 200)), np.arange(600) % 2
    wide = dict(hidden_layer_sizes=(256, 128), batch_size=256)
    precise = dict(dtype="float64", ensemble=3, rng="keras")
    for settings in {}, wide, precise:
        net = NumpyMLPClassifier(epochs=2, random_state=1, **settings).fit(X, y)
        digest.update(net.predict_proba(X).tobytes())
print(digest.hexdigest())
"""


def bits(threads, calls=1):
    names = ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS")
    environment = os.environ | dict.fromkeys(names, str(threads))
    done = subprocess.run(
        [sys.executable, "-c", CODE, str(calls)],
        capture_output=True,
        text=True,
        cwd=ROOT,
        env=environment,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_the_same_seed_gives_the_same_bits_on_one_thread_and_two_and_again():
    assert bits(1) == bits(2) == bits(1, calls=2)


def test_another_seed_gives_other_bits():
    assert not np.array_equal(probabilities(Z, Y, random_state=0), probabilities(Z, Y, random_state=1))


# ---- rare classes


def rare(rows, positives):
    X = pd.DataFrame(dict(x=np.arange(rows)))
    return Dataset("rare", X, (np.arange(rows) < positives).astype(int), "y", (0, 1))


@pytest.mark.parametrize("plan, least", [("holdout", 4), ("cv:4", 4), ("cv:10", 10)])
@pytest.mark.parametrize("rows", [20, 23, 57, 300, 1001])
def test_each_part_of_a_split_has_both_classes_or_the_plan_is_refused(plan, least, rows):
    for positives in range(1, 31):
        table = rare(rows, min(positives, rows - 1))
        y = table.y
        if np.bincount(y).min() < least:
            with pytest.raises(InputError, match=f"{plan} needs at least {least} rows of each class"):
                splits(plan, table)
        else:
            assert all(set(y[part]) == {0, 1} for split in splits(plan, table) for part in split)


def test_the_smallest_holdouts_have_both_classes_too():
    for rows in range(8, 60):
        for positives in range(4, rows - 3):
            y = rare(rows, positives).y
            ((train, test),) = splits("holdout", rare(rows, positives))
            assert set(y[train]) == set(y[test]) == {0, 1} and not set(train) & set(test)


def test_a_rare_class_has_an_auc_in_a_holdout_and_is_as_frequent_in_both_parts():
    table = rare(300, 25)
    ((train, test),) = splits("holdout", table)
    assert (len(train), len(test)) == (180, 72) and (table.y[train].sum(), table.y[test].sum()) == (15, 6)
    assert evaluate(Config(plan="holdout", epochs=1), table)[0].roc_auc.notna().all()


def test_what_has_no_value_is_null_for_programs_and_never_nan(tmp_path):
    none = [np.nan, float("inf"), -np.inf, np.float64("nan")]
    output.write(str(tmp_path / "r.json"), dict(a=none, b=(1.5, dict(c=None))))
    text = (tmp_path / "r.json").read_text(encoding="utf-8")
    assert json.loads(text, parse_constant=pytest.fail) == dict(a=[None] * 4, b=[1.5, dict(c=None)])


def test_folds_of_one_class_are_told_to_people_and_null_for_programs(store, tmp_path, capsys):
    hospitals = np.arange(40) // 10
    y = np.where(hospitals == 3, 0, np.arange(40) % 2)
    X = pd.DataFrame(dict(x=np.arange(40.0) % 7))
    table = Dataset("wards", X, y, "y", (0, 1), hospitals)
    done = [run(Config(backend=b, plan="groups", epochs=1), dataset=table) for b in ("numpy", "majority")]
    aucs = done[0].folds.roc_auc
    assert list(aucs.isna()) == [False] * 3 + [True] and done[0].metrics["roc_auc"] == aucs[:3].mean()
    output.print_results(table, done)
    said = " ".join(capsys.readouterr().out.split())
    told = "ROC AUC has no value in 1 of 4 folds, whose test rows are of one class"
    assert said.count(told) == 1
    output.write(str(tmp_path / "r.json"), output.results_as_json(table, done))
    json.loads((tmp_path / "r.json").read_text(encoding="utf-8"), parse_constant=pytest.fail)


# ---- a long table

LONG = """
import resource, sys
from mlp_bench.data import load
from mlp_bench.config import Config
from mlp_bench.evaluation import evaluate
data = load(sys.argv[1], "t")
loaded = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
p = evaluate(Config(plan="holdout", epochs=1), data)[1].p
assert data.X.shape == (10**6, 50) and p.between(0, 1).all()
print(loaded, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
"""


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_a_million_rows_of_fifty_columns_fit_into_six_gigabytes(tmp_path):
    import pyarrow as pa, pyarrow.csv

    numbers = np.random.default_rng(0).normal(size=(10**6, 50)).round(6)
    columns = {f"c{i}": numbers[:, i] for i in range(50)}
    path = tmp_path / "long.csv"
    pa.csv.write_csv(pa.table(columns | {"t": (numbers[:, 0] > 0).astype(int)}), path)
    done = subprocess.run(
        [sys.executable, "-c", LONG, str(path)], capture_output=True, text=True, cwd=ROOT, timeout=1100
    )
    assert done.returncode == 0, done.stderr
    loaded, peak = (int(k) / 2**20 for k in done.stdout.split())  # GiB
    print(f"{path.stat().st_size / 1e9:.2f} GB of CSV: {loaded:.2f} GiB to load, {peak:.2f} GiB in all")
    assert peak < 6
