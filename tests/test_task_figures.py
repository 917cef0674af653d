"""Statistics and figures of many classes and of amounts: against scikit-learn, by hand, and on any scale."""

import json
import re
from dataclasses import asdict, replace
from functools import cache
from xml.etree import ElementTree

import numpy as np
import pandas as pd
import pytest
from sklearn.datasets import load_diabetes, load_digits, load_wine
from sklearn.dummy import DummyClassifier, DummyRegressor
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.metrics import (
    average_precision_score,
    balanced_accuracy_score,
    confusion_matrix,
    precision_recall_curve,
    r2_score,
    roc_auc_score,
)
from sklearn.model_selection import RepeatedKFold, RepeatedStratifiedKFold
from sklearn.naive_bayes import GaussianNB
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from mlp_bench import figures, stats
from mlp_bench.config import Config, metrics_of
from mlp_bench.core import InputError
from mlp_bench.evaluation import answers, gather_folds, score, summarise
from mlp_bench.ranking import contrast
from mlp_bench.tracking import Run, results_of

TABLES = {"wine": load_wine, "digits": load_digits, "diabetes": load_diabetes}
MODELS = {
    "multiclass": {
        "numpy": make_pipeline(StandardScaler(), LogisticRegression(max_iter=200)),
        "keras": GaussianNB(),
        "majority": DummyClassifier(strategy="prior"),
    },
    "regression": {"numpy": Ridge(0.1), "keras": Ridge(3), "majority": DummyRegressor()},
}


@cache
def run_on(table, backend="numpy", folds=4, repeats=1):
    "A run as it is stored, of one of scikit-learn's models in the name of a backend"
    X, y = TABLES[table](return_X_y=True)
    task = "regression" if table == "diabetes" else "multiclass"
    kinds = dict(regression=RepeatedKFold, multiclass=RepeatedStratifiedKFold)
    rows, tests = [], []
    for train, test in kinds[task](n_splits=folds, n_repeats=repeats, random_state=0).split(X, y):
        model = MODELS[task][backend].fit(X[train], y[train])
        p = answers(model, X[test], 0 if task == "regression" else len(set(y)))
        sizes = dict(n_train=len(train), n_test=len(test))
        rows.append(dict(**sizes, **score(y[test], p, task), fit_seconds=0.1, predict_us_per_row=2.0))
        columns = dict(p=p) if p.ndim == 1 else {f"p_{k}": p[:, k] for k in range(p.shape[1])}
        tests.append(pd.DataFrame(dict(row=test, y=y[test], **columns)))
    table_of_folds, oof, curve = gather_folds([(row, oof, [0.7, 0.3]) for row, oof in zip(rows, tests)])
    ids = dict(run_id=f"{len(backend):032x}", key=f"{len(backend):064x}", cached=False)
    config = Config(data=f"{table}.csv", target="y", backend=backend)
    metrics = summarise(table_of_folds, oof)
    return Run(**ids, config=config, metrics=metrics, folds=table_of_folds, oof=oof, curve=curve, task=task)


def results(table, *backends, **plan):
    return results_of([run_on(table, b, **plan) for b in backends or ("numpy", "keras")])


def scaled(run, factor):
    "The run as it had been, with the target in another unit"
    amounts = run.oof.assign(y=run.oof.y * factor, p=run.oof.p * factor)
    errors = run.folds.assign(rmse=run.folds.rmse * factor, mae=run.folds.mae * factor)
    return replace(run, oof=amounts, folds=errors)


SCALES = 1e-9, 1e-3, 1e3, 1e9


# what is counted


@pytest.mark.parametrize("table", TABLES)
def test_tables_hold_what_has_a_meaning_for_the_task_and_nothing_else(table):
    run = run_on(table)
    folds = results(table).folds
    assert stats.task_of(folds) == run.task
    columns = set(stats.pretty(stats.summary(folds)))
    titles = {stats.METRIC_TITLES[m] for m in metrics_of(run.task)}
    assert columns == titles | {"Training per fold", "Prediction per row", "Speed, slowest = 1"}
    assert set(stats.fold_measures(run.oof, run.task)) == set(metrics_of(run.task, tuple(stats.MEASURES)))


def test_balanced_accuracy_of_many_classes_is_scikit_learn_s_fold_by_fold():
    oof = run_on("wine", "keras").oof
    expected = [
        balanced_accuracy_score(o.y, o.filter(like="p_").to_numpy().argmax(1)) for _, o in oof.groupby("fold")
    ]
    measured = stats.fold_measures(oof, "multiclass").balanced_accuracy
    assert measured.tolist() == pytest.approx(expected)


def test_a_fold_without_one_of_the_classes_has_no_balanced_accuracy_and_the_note_says_so():
    run = run_on("wine")
    some = run.oof[(run.oof.fold > 0) | (run.oof.y < 2)]
    measured = stats.fold_measures(some, "multiclass").balanced_accuracy
    assert np.isnan(measured).tolist() == [True, *[False] * 3]
    folds = results("wine").folds
    (note,) = stats.undefined_notes(folds.assign(roc_auc=folds.roc_auc.where(folds.fold > 0)))
    assert "1 of 4 folds" in note and "one class" not in note
    (note,) = stats.undefined_notes(folds.assign(roc_auc=np.nan))
    assert "both" not in note
    assert not list(stats.undefined_notes(results("diabetes").folds))


def test_intervals_stay_within_what_their_metric_can_be():
    rng = np.random.default_rng(0)
    bounds = {"rmse": (0, np.inf), "mae": (0, np.inf), "r2": (-np.inf, 1), "balanced_accuracy": (0, 1)}
    for metric, (least, greatest) in bounds.items():
        outside = 0
        for _ in range(100):
            values = rng.beta(*rng.choice([0.2, 1, 5], 2), size=4)
            folds = pd.DataFrame({metric: values, "n_train": 70, "n_test": 30})
            low, high = stats.interval(folds, metric)
            plain = stats.ci95(values, 70, 30)
            assert (low, high) == (max(plain[0], least), min(plain[1], greatest))
            outside += plain[0] < 0 or plain[1] > 1
        assert outside > 20
    worse_than_the_mean = pd.DataFrame(dict(r2=[-3.0, -5.0], n_train=70, n_test=30))
    assert stats.interval(worse_than_the_mean, "r2")[0] < -5


# contrasts


def test_the_usual_margin_is_two_percent_of_the_better_error_and_a_hundredth_where_one_is_the_most():
    names = dict(task="regression", n_train=70, n_test=30, fit_seconds=1.0, test_set=[1, 2])
    a = pd.DataFrame(dict(model="A", rmse=[50.0, 60.0], mae=40.0, r2=0.5, **names))
    b = pd.DataFrame(dict(model="B", rmse=[48.0, 52.0], mae=[41.0, 43.0], r2=0.4, **names))
    c = stats.paired_contrast(a, b)
    assert (c.metric, c.margin) == ("rmse", pytest.approx(1.0)) and c.difference == 5
    assert "margin 1.000, 2 % of the better" in c.verdict and "lower is better" in c.verdict
    assert stats.paired_contrast(a, b, "mae").margin == pytest.approx(0.8)
    assert stats.paired_contrast(a, b, "r2").margin == 0.01
    assert stats.paired_contrast(b, a).margin == c.margin
    own = stats.paired_contrast(a, b, margin=3)
    assert own.margin == 3 and "margin 3," in own.verdict and "%" not in own.verdict.split("margin")[1]


def test_a_log_loss_has_a_share_too():
    a, b = run_on("wine"), run_on("wine", "keras")
    c = contrast(a, b)
    assert c.metric == "log_loss"
    assert c.margin == pytest.approx(0.02 * min(a.folds.log_loss.mean(), b.folds.log_loss.mean()))


@pytest.mark.parametrize("scale", SCALES)
def test_the_unit_of_the_target_changes_no_conclusion(scale):
    a, b = run_on("diabetes"), run_on("diabetes", "keras")
    here, there = contrast(a, b), contrast(scaled(a, scale), scaled(b, scale))
    assert there.margin == pytest.approx(scale * here.margin)
    for answer in ("p_value", "p_equivalent", "probabilities"):
        assert getattr(there, answer) == pytest.approx(getattr(here, answer), rel=1e-6)
    assert (there.different, there.equivalent) == (here.different, here.equivalent)


def numbers_of(text):
    plain = text.replace("−", "-").replace(",", "")
    return [float(n) for n in re.findall(r"[-+]?\d+\.?\d*(?:e[-+]?\d+)?", plain)]


@pytest.mark.parametrize("scale", (1.0, *SCALES))
def test_a_verdict_can_be_read_on_any_scale(scale):
    c = contrast(*(scaled(run_on("diabetes", b), scale) for b in ("numpy", "majority")))
    said = re.search(r"ΔRMSE (\S+) \[(\S+), (\S+)\] \(lower is better, margin (\S+),", c.verdict)
    told = [numbers_of(text)[0] for text in said.groups()]
    assert told == pytest.approx([c.difference, *c.ci95, c.margin], rel=0.05)
    assert all(len(text) < 16 for text in said.groups())
    assert said.group(1).startswith("−")


@pytest.mark.parametrize("scale", (1.0, *SCALES))
def test_a_table_of_scores_can_be_read_on_any_scale(scale):
    folds = results_of([scaled(run_on("diabetes", b), scale) for b in ("numpy", "keras")]).folds
    table = stats.summary(folds)
    cell = stats.pretty(table).loc["NumPy", "RMSE"]
    told = numbers_of(cell.replace("±", " ").replace(", ", " "))
    row = table.loc["NumPy", ["rmse", "rmse_sd", "rmse_lo", "rmse_hi"]]
    assert told == pytest.approx(row.tolist(), rel=1e-3) and len(cell) < 70


def test_models_without_an_error_are_contrasted_too():
    perfect, other = run_on("diabetes"), run_on("diabetes", "keras")
    perfect = replace(perfect, folds=perfect.folds.assign(rmse=0.0))
    c = contrast(perfect, other)
    assert "NumPy is better" in c.verdict and len(c.verdict) < 250 and c.margin > 0
    both = contrast(perfect, replace(perfect, run_id="f" * 32))
    assert both.equivalent and not both.different and len(both.verdict) < 250


def test_a_metric_of_another_task_is_refused():
    for table, metric in (("wine", "rmse"), ("wine", "average_precision"), ("diabetes", "roc_auc")):
        with pytest.raises(InputError, match=f"{metric}.*choose one of"):
            contrast(run_on(table), run_on(table, "keras"), metric)
    for table in TABLES:
        run = run_on(table)
        for metric in metrics_of(run.task, stats.CONTRAST_METRICS):
            c = contrast(run, run_on(table, "keras"), metric)
            assert c.metric == metric and json.dumps(c.as_dict(), allow_nan=False)


def test_several_contrasts_share_one_margin_and_turn_round():
    folds = results("diabetes", "numpy", "keras", "majority").folds
    both = stats.contrasts(folds)
    assert set(both.metric) == {"rmse"} and both.margin.nunique() == 1
    a, b = run_on("diabetes"), run_on("diabetes", "keras")
    assert contrast(a, b).difference == pytest.approx(-contrast(b, a).difference)
    assert contrast(a, b).margin == contrast(b, a).margin


def test_where_nothing_is_defined_the_sentence_speaks_of_the_task():
    a, b = run_on("wine"), run_on("wine", "keras")
    none = contrast(replace(a, folds=a.folds.assign(roc_auc=np.nan)), b, "roc_auc")
    assert none.verdict.startswith("No fold has test rows of all classes")
    a, b = run_on("diabetes"), run_on("diabetes", "keras")
    none = contrast(replace(a, folds=a.folds.assign(r2=np.nan)), b, "r2")
    assert "class" not in none.verdict and "R²" in none.verdict


# figures


def charts(table, *backends, **plan):
    r = results(table, *backends, **plan)
    contrasts = stats.contrasts(r.folds)
    drawn = [*figures.charts_of(r.predictions), *figures.error_charts(r.predictions)]
    differences = figures.contrast_chart(contrasts), figures.fold_chart(r.folds, contrasts.metric[0])
    return [*drawn, figures.loss_chart(r.curves), *differences]


def assert_sound(chart):
    "Plain data, words for those who cannot see, and a drawing that is well formed and inside its frame"
    assert json.dumps(asdict(chart), allow_nan=False, default=int) and chart.alt.endswith(".")
    drawn = ElementTree.fromstring(figures.svg(chart).replace("currentColor", "black"))
    width, height = map(float, drawn.get("viewBox").split()[2:])
    for circle in drawn.iter("circle"):
        assert 0 <= float(circle.get("cx")) <= width and 0 <= float(circle.get("cy")) <= height
    assert len(figures.svg(chart)) < 120_000
    assert figures.png(chart).startswith(b"\x89PNG")


@pytest.mark.parametrize("table", TABLES)
def test_every_chart_of_every_task_is_drawn_and_told(table):
    for chart in charts(table):
        assert_sound(chart)


def test_what_is_drawn_suits_the_task_and_nothing_else():
    def titles(table):
        return " ".join(chart.title + chart.x + chart.y + chart.alt for chart in charts(table)).lower()

    assert not re.search("class|roc|probab|positive|confusion|threshold", titles("diabetes"))
    assert not re.search("residual|observed −|threshold|positives \\d", titles("wine"))
    for table in TABLES:
        r = results(table)
        assert len(figures.overview(r.predictions, r.curves)) == (3 if table == "diabetes" else 5)


@pytest.mark.parametrize("table, repeats", [("wine", 1), ("wine", 3), ("digits", 1)])
def test_a_confusion_matrix_is_scikit_learn_s(table, repeats):
    oof = run_on(table, "keras", repeats=repeats).oof
    expected = confusion_matrix(oof.y, stats.answers_of(oof).argmax(1)) / repeats
    assert figures.confusion(oof) == pytest.approx(expected)
    assert figures.confusion(oof).sum() == pytest.approx(len(TABLES[table]().target))


def test_squares_hold_counts_and_shares_of_their_row():
    oof = run_on("wine", "keras").oof.assign(model="Bayes", task="multiclass")
    counts = confusion_matrix(oof.y, stats.answers_of(oof).argmax(1))
    chart = figures.confusion_chart(oof, classes=("red", "white", "<b>"))
    shares = counts / counts.sum(1, keepdims=True)
    for cell in chart.cells:
        i, j = int(cell.y), int(cell.x)
        assert cell.shade == pytest.approx(shares[i, j]) and cell.style == (i != j)
        assert cell.text == (f"{counts[i, j]}\n{shares[i, j]:.0%}" if counts[i, j] else "")
    assert f"red {shares[0, 0]:.0%}" in chart.alt and "<b>" not in figures.svg(chart)
    assert list(chart.yticks.values()) == ["red", "white", "<b>"]


def of_classes(K, n=400, seed=0):
    rng = np.random.default_rng(seed)
    p = rng.dirichlet(np.ones(K), n)
    columns = {f"p_{k}": p[:, k] for k in range(K)}
    y = np.r_[np.arange(K), rng.integers(0, K, n - K)]
    return pd.DataFrame(dict(model="M", task="multiclass", fold=0, row=range(n), y=y, **columns))


@pytest.mark.parametrize("K", [3, 10, 12, 13, 40, 100])
def test_a_matrix_of_any_number_of_classes_can_be_read(K):
    labels = tuple(f"a long name of class {k}" for k in range(K))
    chart = figures.confusion_chart(of_classes(K), classes=labels)
    assert_sound(chart)
    assert len(chart.cells) == K * K if K <= 12 else 100 < len(chart.cells) <= 500
    assert len(chart.xticks) <= 12 and len(chart.alt) < 700
    assert any(cell.text for cell in chart.cells) == (K <= 12)
    assert sum(map(len, chart.xticks.values())) <= 40  # side by side


@pytest.mark.parametrize("table, backend", [("wine", "keras"), ("digits", "keras"), ("digits", "numpy")])
def test_what_a_roc_chart_says_is_what_the_table_says(table, backend):
    r = results(table, backend)
    assert f"{r.folds.roc_auc.mean():.3f}" in figures.roc_chart(r.predictions).alt
    oof = run_on(table, backend).oof
    for (fpr, tpr), expected in zip(figures.fold_curves(oof), run_on(table, backend).folds.roc_auc):
        assert np.trapezoid(tpr, fpr) == pytest.approx(expected, abs=5e-3)
        assert (np.diff(fpr) >= 0).all() and (np.diff(tpr) >= -1e-12).all() and (tpr[0], tpr[-1]) == (0, 1)


@pytest.mark.parametrize("table", ["wine", "digits"])
def test_precision_and_recall_are_scikit_learn_s_mean_over_classes(table):
    r = results(table, "keras")
    chart = figures.precision_recall_chart(r.predictions)

    def precision(fold):
        p = stats.answers_of(fold)
        return np.mean([average_precision_score(fold.y == k, p[:, k]) for k in range(p.shape[1])])

    folds = [precision(fold) for _, fold in r.predictions.groupby("fold")]
    assert f"Keras {np.mean(folds):.3f}." in chart.alt
    y, p = r.predictions.y, stats.answers_of(r.predictions)
    line = chart.lines[-1]
    area = np.diff(line.x) @ np.array(line.y[1:])
    expected = np.mean([average_precision_score(y == k, p[:, k]) for k in range(p.shape[1])])
    assert area == pytest.approx(expected, abs=5e-3)
    assert chart.lines[0].y[0] == pytest.approx(1 / p.shape[1])
    best = [precision_recall_curve(y == k, p[:, k])[0].max() for k in range(p.shape[1])]
    assert max(line.y) <= np.mean(best) + 1e-6


def test_reliability_asks_whether_the_likeliest_class_was_the_true_one():
    r = results("digits", "keras")
    chart, oof = figures.calibration_chart(r.predictions), r.predictions
    p = stats.answers_of(oof)
    right = p.argmax(1) == oof.y
    assert np.mean(chart.lines[-1].y) == pytest.approx(right.mean(), abs=2e-3)
    assert np.mean(chart.lines[-1].x) == pytest.approx(p.max(1).mean(), abs=2e-3)
    assert f"{run_on('digits', 'keras').metrics['ece']:.3f}" in chart.alt


def test_points_are_rows_of_the_table_and_say_how_many_are_drawn():
    r = results("diabetes", "numpy", "keras", "majority")
    observed, residual = (f(r.predictions) for f in (figures.observed_chart, figures.residual_chart))
    for place, name, own in stats.by_model(r.predictions):
        truth = {(round(p, 6), round(y, 6)) for p, y in zip(own.p, own.y)}
        assert set(zip(observed.lines[1 + place].x, observed.lines[1 + place].y)) <= truth
        off = {(round(p, 6), round(y - p, 6)) for p, y in zip(own.p, own.y)}
        assert set(zip(residual.lines[1 + place].x, residual.lines[1 + place].y)) <= off
    points = sum(len(line.x) for line in observed.lines[1:])
    assert 900 < points <= 1000 and f"{points} of 1,326 points are drawn" in observed.alt
    alone = figures.observed_chart(results("diabetes", "numpy").predictions)
    assert "drawn" not in alone.alt and len(alone.lines[1].x) == 442


def test_the_diagonal_of_amounts_is_perfection():
    r = results("diabetes", "numpy")
    perfect = r.predictions.assign(p=r.predictions.y)
    chart = figures.observed_chart(perfect)
    assert chart.lines[0].x == chart.lines[0].y and chart.lines[1].x == chart.lines[1].y
    for chart in figures.charts_of(perfect):
        assert_sound(chart)
    own = r.predictions
    told = 1 - ((own.y - own.p) ** 2).sum() / ((own.y - own.y.mean()) ** 2).sum()
    assert told == pytest.approx(r2_score(own.y, own.p))


def test_the_distribution_of_residuals_counts_every_row_once():
    r = results("diabetes")
    chart = figures.residual_distribution(r.predictions)
    for place, _, own in stats.by_model(r.predictions):
        line = chart.lines[place]
        heights, edges = np.array(line.y[1:-1:2]), np.array(line.x[::2])
        assert heights.sum() == pytest.approx(1, abs=1e-4)
        middle = (edges[:-1] + edges[1:]) / 2
        assert heights @ middle == pytest.approx((own.y - own.p).mean(), abs=np.diff(edges)[0])


@pytest.mark.parametrize("scale", SCALES)
def test_amounts_of_any_scale_are_drawn(scale):
    r = results_of([scaled(run_on("diabetes", b), scale) for b in ("numpy", "keras")])
    contrasts = stats.contrasts(r.folds)
    drawn = figures.charts_of(r.predictions)
    for chart in (*drawn, figures.contrast_chart(contrasts), figures.fold_chart(r.folds, "rmse")):
        assert_sound(chart)
    for chart, here in zip(drawn, figures.charts_of(results("diabetes").predictions)):
        for there, line in zip(chart.lines, here.lines):
            assert np.array(there.x) == pytest.approx(scale * np.array(line.x), rel=1e-3, abs=1e-5 * scale)
    places = re.findall(r'cx="([\d.]+)"', figures.svg(drawn[0]))
    assert len(set(places)) > 200  # not all in one place


@pytest.mark.parametrize("rows", [1, 2])
def test_a_handful_of_amounts_is_drawn_too(rows):
    few = results("diabetes", "numpy").predictions.head(rows)
    same = few.assign(p=few.y + 7)
    for predictions in (few, same, few.assign(p=3.0, y=3.0)):
        for chart in figures.charts_of(predictions):
            assert_sound(chart)


def test_a_class_that_no_row_of_a_fold_has_leaves_that_fold_out():
    r = results("wine")
    lacking = r.predictions[(r.predictions.fold > 0) | (r.predictions.y < 2)]
    for chart in figures.charts_of(lacking):
        assert_sound(chart)
    nowhere = r.predictions[r.predictions.y < 2]
    for chart in (*figures.charts_of(nowhere), *figures.error_charts(nowhere)):
        assert_sound(chart)


def test_labels_come_into_the_charts_and_are_escaped():
    r = results("wine")
    labels = ("<script>", "a & b", 'say "no"')
    page = figures.gallery(figures.overview(r.predictions, r.curves, labels))
    assert "<script>" not in page and page.count("&lt;script&gt;") >= 4 and "a &amp; b" in page
    ElementTree.fromstring(page.replace("currentColor", "black"))


def test_the_areas_are_means_over_classes_that_scikit_learn_finds():
    oof = run_on("wine", "keras").oof
    for _, fold in oof.groupby("fold"):
        y, p = fold.y.to_numpy(), stats.answers_of(fold)
        each = [roc_auc_score(*one) for one in figures.one_against_rest(y, p)]
        assert np.mean(each) == pytest.approx(roc_auc_score(y, p, multi_class="ovr"))


def test_models_of_tables_with_other_classes_are_drawn_side_by_side():
    r = results_of([run_on("wine"), run_on("digits", "keras")])
    alone = [results("wine", "numpy"), results("digits", "keras")]
    drawn = [figures.charts_of(table.predictions) for table in (r, *alone)]
    for chart, *own in zip(*drawn):
        assert_sound(chart)
        assert all(chart.lines[-2 + k].y == one.lines[-1].y for k, one in enumerate(own))
    sizes = [len(chart.cells) for chart in figures.error_charts(r.predictions, classes=("a", "b", "c"))]
    assert sizes == [9, 100]
