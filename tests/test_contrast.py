"""Is it better, is it equal, or do we not know: against other authorities, and error rates by simulation."""

import json
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from scipy.stats import t, ttest_1samp
from sklearn.datasets import make_moons
from sklearn.metrics import average_precision_score, balanced_accuracy_score, roc_auc_score, roc_curve
from sklearn.model_selection import RepeatedStratifiedKFold, cross_val_score
from sklearn.svm import SVC
from test_compare import a_run, folds_of

from mlp_bench import figures, stats
from mlp_bench.ranking import contrast
from mlp_bench.core import InputError
from mlp_bench.config import metrics_of

METRICS = metrics_of("binary")


def vector(seed=0, n=10):
    return np.random.default_rng(seed).normal(0.004, 0.01, n)


# the three answers, for a vector of differences


def test_the_t_test_is_the_published_formula():
    d = vector()
    statistic = d.mean() / np.sqrt((1 / 10 + 1 / 9) * d.var(ddof=1))
    result = stats.corrected_tests(d, 90, 10)
    assert result["p_value"] == pytest.approx(2 * t.sf(abs(statistic), 9), rel=1e-10)
    assert result["ci95"] == stats.ci95(d, 90, 10)


def test_without_shared_rows_it_is_scipy_s_test():
    d = vector(1)
    result = stats.corrected_tests(d, np.inf, 10, margin=0.012)
    assert result["p_value"] == pytest.approx(ttest_1samp(d, 0).pvalue, rel=1e-10)
    sides = ttest_1samp(d, -0.012, alternative="greater"), ttest_1samp(d, 0.012, alternative="less")
    assert result["p_equivalent"] == pytest.approx(max(side.pvalue for side in sides), rel=1e-10)


def test_p_and_interval_never_contradict_each_other():
    for seed in range(50):
        result = stats.corrected_tests(vector(seed), 90, 10)
        assert (result["p_value"] < 0.05) == (not result["ci95"][0] <= 0 <= result["ci95"][1])


def test_equivalence_means_that_the_90_percent_interval_is_within_the_margin():
    for seed in range(50):
        d, margin = vector(seed), 0.008
        half = t.ppf(0.95, 9) * stats.corrected_se(d, 90, 10)
        result = stats.corrected_tests(d, 90, 10, margin)
        assert (result["p_equivalent"] < 0.05) == (-margin < d.mean() - half and d.mean() + half < margin)


def test_the_posterior_is_that_of_corani_and_benavoli():
    d, rho, rope = vector(2, 100), 0.1, 0.01
    posterior = t(99, d.mean(), d.std(ddof=1) * np.sqrt(1 / 100 + rho / (1 - rho)))
    expected = posterior.cdf(-rope), posterior.cdf(rope) - posterior.cdf(-rope), posterior.sf(rope)
    result = stats.corrected_tests(d, 90, 10, rope)["probabilities"]
    assert result == pytest.approx(expected, abs=1e-12) and sum(result) == pytest.approx(1)


def test_figures_are_those_that_scikit_learn_s_documentation_prints():
    X, y = make_moons(noise=0.352, random_state=1, n_samples=100)
    cv = RepeatedStratifiedKFold(n_splits=10, n_repeats=10, random_state=0)
    rbf, linear = (
        cross_val_score(SVC(kernel=kernel, random_state=0), X, y, scoring="roc_auc", cv=cv)
        for kernel in ("rbf", "linear")
    )
    result = stats.corrected_tests(rbf - linear, 90, 10)
    assert result["p_value"] / 2 == pytest.approx(0.227, abs=5e-4)
    assert result["ci95"] == pytest.approx((-0.016445, 0.036445), abs=1e-6)
    assert result["probabilities"] == pytest.approx((0.068, 0.432, 0.5), abs=5e-4)


@pytest.mark.parametrize(
    "constant, p_value, equivalent", [(0.0, 1, True), (0.005, 0, True), (0.05, 0, False)]
)
def test_folds_that_agree_perfectly_leave_no_doubt(constant, p_value, equivalent):
    result = stats.corrected_tests(np.full(10, constant), 90, 10)
    assert result["p_value"] == pytest.approx(p_value, abs=1e-6)
    assert (result["p_equivalent"] < 0.05) == equivalent
    assert result["ci95"] == pytest.approx((constant, constant))


@pytest.mark.parametrize("few", [[], [0.1], [np.nan, 0.1], [np.nan] * 3])
def test_fewer_than_two_folds_answer_nothing(few):
    assert set(stats.corrected_tests(few, 90, 10).values()) == {None}


# intervals of metrics that have bounds


def wild_folds(seed):
    "Three to ten folds near 0, in the middle or near 1"
    rng = np.random.default_rng(seed)
    auc = rng.beta(*rng.choice([0.2, 1, 5, 40], 2), size=rng.integers(3, 11))
    return pd.DataFrame(dict(roc_auc=auc.round(2), log_loss=-np.log(auc), n_train=70, n_test=30))


@pytest.mark.parametrize("metric, greatest", [("roc_auc", 1), ("log_loss", np.inf)])
def test_an_interval_stays_within_the_bounds_of_its_metric_and_loses_no_possible_truth(metric, greatest):
    outside = 0
    for folds in map(wild_folds, range(300)):
        low, high = stats.interval(folds, metric)
        plain_low, plain_high = stats.ci95(folds[metric], 70, 30)
        assert 0 <= low <= folds[metric].mean() <= high <= greatest
        for truth in np.linspace(0, 1, 21):
            assert (low <= truth <= high) == (plain_low <= truth <= plain_high)
        outside += plain_low < 0 or plain_high > greatest
    assert outside > 50


def test_folds_that_are_all_right_or_all_wrong_have_an_interval_without_width():
    for x in (0.0, 1.0):
        assert stats.interval(wild_folds(0).assign(roc_auc=x), "roc_auc") == (x, x)


def test_seconds_may_be_more_than_one():
    seconds = wild_folds(0).assign(fit_seconds=5.0)
    assert stats.interval(seconds, "fit_seconds") == (5, 5)


def test_a_difference_of_bounded_metrics_is_truncated_and_its_answers_stay():
    a, b = a_run(folds=3), a_run(1, folds=3, backend="keras")
    a = replace(a, folds=a.folds.assign(roc_auc=[1.0, 0.0, 1.0], log_loss=[9.0, 0.1, 9.0]))
    b = replace(b, folds=b.folds.assign(roc_auc=[0.0, 0.1, 0.0], log_loss=[0.1, 0.1, 0.1]))
    d = a.folds.roc_auc - b.folds.roc_auc
    tests = stats.corrected_tests(d, a.folds.n_train.mean(), a.folds.n_test.mean())
    c = contrast(a, b)
    assert c.ci95 == (-1, 1) and tests["ci95"][0] < -1 and c.p_value == tests["p_value"]
    assert contrast(a, b, "log_loss").ci95[1] > 9


# contrasts of runs


def test_a_contrast_turned_round_changes_signs_only():
    a, b = a_run(0, shift=0.1), a_run(1, backend="keras")
    for metric in (*METRICS, *stats.MEASURES):
        c, back = contrast(a, b, metric), contrast(b, a, metric)
        assert c.difference == pytest.approx(-back.difference)
        assert c.ci95 == pytest.approx([-x for x in back.ci95[::-1]])
        assert (c.p_value, c.p_equivalent) == pytest.approx((back.p_value, back.p_equivalent))
        assert c.probabilities == pytest.approx(back.probabilities[::-1])
        assert c.names == back.names[::-1]
        assert c.times_faster == pytest.approx(1 / back.times_faster) == pytest.approx(2)


def test_better_means_less_where_less_is_better():
    good, bad = a_run(0, shift=0.3, folds=8, n=400), a_run(1, folds=8, n=400, backend="keras")
    for metric in METRICS:
        c = contrast(good, bad, metric)
        assert c.probabilities[2] > 0.9 and "NumPy is better than Keras" in c.verdict
        assert ("lower is better" in c.verdict) == (c.difference < 0) == (metric in ("log_loss", "brier"))
        assert "Keras is worse than NumPy" in contrast(bad, good, metric).verdict


def test_identical_predictions_are_equivalent():
    a = a_run()
    c = contrast(a, replace(a, run_id="f" * 32))
    assert c.equivalent and not c.different and c.p_value == 1
    assert "practically equivalent: ΔROC AUC +0.000 [0.000, 0.000]" in c.verdict
    assert "both took equally long to train" in c.verdict


def test_the_verdict_reads_as_promised():
    c = stats.Contrast(
        ("NumPy", "Keras"),
        "roc_auc",
        margin=0.01,
        folds=10,
        difference=0.001,
        ci95=(-0.003, 0.005),
        p_value=0.6,
        p_equivalent=0.001,
        probabilities=(0, 1, 0),
        times_faster=143.2,
    )
    assert c.verdict == (
        "NumPy and Keras are practically equivalent: ΔROC AUC +0.001 [−0.003, 0.005] "
        "(margin 0.01, 10 folds); NumPy trained 143 times as fast."
    )
    assert replace(c, times_faster=0.5).verdict.endswith("; Keras trained 2 times as fast.")
    open_question = replace(c, p_equivalent=0.3).verdict
    assert "more folds or data are needed" in open_question
    assert "cannot be told apart, nor called equivalent" in open_question
    assert "NumPy is better than Keras, but by less than the margin:" in replace(c, p_value=0.01).verdict
    assert "+0.0010 [−0.0030, 0.0050]" in replace(c, margin=0.001).verdict
    assert "0.001" in repr(c) and c.verdict in repr(c)


def test_one_split_and_no_split_say_so():
    one = contrast(a_run(folds=1), a_run(1, folds=1, backend="keras"))
    assert one.ci95 is None and one.p_value is None
    assert "one split gives no interval" in one.verdict and "1 fold" in repr(one)
    a = a_run()
    none = contrast(replace(a, folds=a.folds.assign(roc_auc=np.nan)), a)
    assert none.folds == 0 and none.as_dict()["difference"] is None
    assert none.verdict.startswith("No fold has test rows of both classes")


def test_folds_without_a_value_are_left_out():
    a, b = a_run(0), a_run(1)
    gap = replace(a, folds=a.folds.assign(roc_auc=a.folds.roc_auc.where(a.folds.fold > 0)))
    c = contrast(gap, b)
    assert c.folds == 3 and c.difference == pytest.approx((a.folds.roc_auc - b.folds.roc_auc)[1:].mean())


def test_a_contrast_is_json():
    facts = json.loads(json.dumps(contrast(a_run(0), a_run(1, backend="keras")).as_dict(), allow_nan=False))
    assert (
        facts["names"] == ["NumPy", "Keras"] and len(facts["ci95"]) == 2 and len(facts["probabilities"]) == 3
    )
    assert {
        "difference",
        "p_value",
        "p_equivalent",
        "equivalent",
        "different",
        "times_faster",
        "verdict",
        "margin",
        "metric",
        "folds",
    } <= set(facts)


def test_what_cannot_be_contrasted_gets_a_sentence():
    with pytest.raises(InputError, match="same folds"):
        contrast(a_run(folds=4), a_run(folds=5))
    with pytest.raises(InputError, match="Unknown metric 'ece'.*roc_auc"):
        contrast(a_run(), a_run(1), "ece")
    for margin in (0, -1, np.nan, np.inf, "wide"):
        with pytest.raises(InputError, match="margin"):
            contrast(a_run(), a_run(1), margin=margin)
    with pytest.raises(InputError, match="two runs"):
        stats.contrasts(folds_of(a_run()))


# several at once


def test_holm_is_the_worked_example():
    assert stats.holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert stats.holm([0.5, 0.9]) == pytest.approx([1, 1]) and stats.holm([0.2]) == pytest.approx([0.2])


def test_holm_lies_between_no_correction_and_bonferroni():
    p = np.random.default_rng(0).random(20) ** 3
    corrected = stats.holm(p)
    assert (corrected >= p).all() and (corrected <= np.minimum(20 * p, 1) + 1e-15).all()
    assert (np.diff(corrected[np.argsort(p)]) >= 0).all()
    assert corrected.min() == pytest.approx(min(1, 20 * p.min()))


def test_contrasts_are_each_against_the_first():
    runs = [a_run(0, shift=0.3), a_run(1, backend="keras"), a_run(2, backend="logistic")]
    result = stats.contrasts(folds_of(*runs), "brier")
    assert list(result.a) == ["NumPy"] * 2 and list(result.b) == ["Keras", "Logistic regression"]
    for i, other in enumerate(runs[1:]):
        c = contrast(runs[0], other, "brier")
        row = result.loc[i, ["difference", "lo", "hi", "p_value"]].tolist()
        assert row == pytest.approx([c.difference, *c.ci95, c.p_value])
    assert list(result.p_holm) == pytest.approx(list(stats.holm(result.p_value)))
    assert list(result.p_equivalent_holm) == pytest.approx(list(stats.holm(result.p_equivalent)))


def test_the_sentences_of_several_follow_the_corrected_p():
    others = ("keras", "logistic", "sklearn_mlp", "hist_gb", "majority")
    runs = [a_run(0, shift=0.1), *(a_run(seed, backend=b) for seed, b in enumerate(others, 1))]
    result = stats.contrasts(folds_of(*runs))
    told_apart = result.verdict.str.contains(" better than | worse than ")
    assert (told_apart == (result.p_holm < 0.05)).all()


def test_contrasts_of_single_splits_have_no_p():
    result = stats.contrasts(folds_of(*(a_run(s, folds=1) for s in range(3))))
    assert result[["p_value", "p_holm", "lo", "better"]].isna().all(axis=None)
    assert result.verdict.str.contains("one split gives no interval").all()


# measures from stored predictions


def test_measures_are_scikit_learn_s_fold_by_fold():
    run = a_run(3, folds=5, n=200)
    measured, folds = stats.fold_measures(run.oof), [(o.y, o.p) for _, o in run.oof.groupby("fold")]
    accuracies = [balanced_accuracy_score(y, p > 0.5) for y, p in folds]
    assert measured.balanced_accuracy.tolist() == pytest.approx(accuracies)
    precisions = [average_precision_score(y, p) for y, p in folds]
    assert measured.average_precision.tolist() == pytest.approx(precisions)
    table = stats.summary(folds_of(run), (*METRICS, *stats.MEASURES)).iloc[0]
    for m in (*METRICS, *stats.MEASURES):
        assert table[f"{m}_lo"] < table[m] < table[f"{m}_hi"]


def test_hits_and_alarms_are_scikit_learn_s_curves_with_ties_too():
    for seed in range(20):
        rng = np.random.default_rng(seed)
        y, p = rng.permutation([0] * 30 + [1] * 20), rng.integers(0, 12, 50) / 12
        hits, alarms = stats.hits_and_alarms(y, p)
        fpr, tpr, _ = roc_curve(y, p, drop_intermediate=False)
        assert alarms / 30 == pytest.approx(fpr) and hits / 20 == pytest.approx(tpr)
        assert stats.MEASURES["average_precision"](y, p) == pytest.approx(average_precision_score(y, p))


def test_sensitivity_at_90_percent_specificity_is_found_by_trying_every_threshold():
    for seed in range(20):
        rng = np.random.default_rng(seed)
        y, p = np.r_[np.zeros(30), np.ones(20)], rng.integers(0, 12, 50) / 12  # many ties
        thresholds = [c for c in np.r_[-1, np.unique(p)] if (p[y == 0] > c).mean() <= 0.1 + 1e-12]
        allowed = [(p[y == 1] > c).mean() for c in thresholds]
        assert stats.MEASURES["sensitivity_at_90"](y, p) == pytest.approx(max(allowed))


def test_a_fold_of_one_class_has_no_measures():
    run = a_run()
    gap = replace(run, oof=run.oof.assign(y=run.oof.y.where(run.oof.fold > 0, 1)))
    assert np.isnan(stats.fold_measures(gap.oof).average_precision).tolist() == [True, False, False, False]
    assert np.isfinite(stats.summary(folds_of(gap), tuple(stats.MEASURES)).average_precision).all()


def test_confusion_at_a_threshold_counts_what_is_above_it():
    oof = a_run(repeats=2).oof
    for threshold in (0, 0.2, 0.5, 1):
        alarms = figures.confusion(oof, threshold)[:, 1].sum()
        assert alarms == pytest.approx((oof.p > threshold).sum() / 2)
    assert (figures.confusion(oof) == figures.confusion(oof, 0.5)).all()
    with pytest.raises(InputError, match="0 to 1"):
        figures.confusion(oof, 1.5)
    chart = figures.confusion_chart(oof.assign(model="NumPy"), threshold=0.2)
    assert "threshold 0.2" in chart.alt and "threshold 0.2" in chart.title


def test_net_benefit_is_vickers_and_elkin_s():
    oof = a_run(5).oof
    for at in (0.1, 0.35, 0.8):
        treated = oof.p > at
        gain = (treated & (oof.y == 1)).mean() - (treated & (oof.y == 0)).mean() * at / (1 - at)
        assert figures.net_benefit(oof, [at])[0] == pytest.approx(gain)
    everyone = oof.assign(p=1.0)
    assert figures.net_benefit(everyone, [0.0, 0.5]) == pytest.approx([oof.y.mean(), 2 * oof.y.mean() - 1])
    assert figures.net_benefit(oof.assign(p=0.0), [0.3]) == pytest.approx([0])


def test_the_roc_band_holds_the_middle_folds():
    oof = a_run(0, folds=10, n=400).oof
    grid, low, high = figures.roc_band(figures.fold_curves(oof), share=1)
    assert (np.diff(low) >= 0).all() and (np.diff(high) >= 0).all() and low[-1] == high[-1] == 1
    aucs = [roc_auc_score(o.y, o.p) for _, o in oof.groupby("fold")]
    assert np.trapezoid(low, grid) <= min(aucs) + 0.02 and np.trapezoid(high, grid) >= max(aucs) - 0.02
    assert figures.roc_band(figures.fold_curves(a_run(folds=1).oof)) is None


# error rates


def related(rng, folds, rho, sd=0.02):
    "Differences that share the part rho of their variance"
    return sd * (np.sqrt(rho) * rng.normal() + np.sqrt(1 - rho) * rng.normal(size=folds))


@pytest.mark.parametrize("comparisons, slack", [(400, 2.5), pytest.param(2000, 1, marks=pytest.mark.slow)])
@pytest.mark.parametrize("folds, n_train, n_test", [(10, 90, 10), (100, 90, 10), (25, 80, 20)])
def test_error_rates_are_as_promised_where_the_assumptions_hold(folds, n_train, n_test, comparisons, slack):
    rng, truth = np.random.default_rng(folds + comparisons), 0.02
    null = [related(rng, folds, n_test / (n_test + n_train)) for _ in range(comparisons)]
    alarms = np.mean([stats.corrected_tests(d, n_train, n_test)["p_value"] < 0.05 for d in null])
    intervals = [stats.ci95(d + truth, n_train, n_test) for d in null]
    covered = np.mean([lo <= truth <= hi for lo, hi in intervals])
    assert abs(alarms - 0.05) <= 0.02 * slack and abs(covered - 0.95) <= 0.02 * slack


@pytest.mark.parametrize("comparisons, slack", [(400, 2.5), pytest.param(2000, 1, marks=pytest.mark.slow)])
def test_a_difference_as_large_as_the_margin_is_seldom_called_equivalent(comparisons, slack):
    rng = np.random.default_rng(comparisons)
    differences = [0.01 + related(rng, 10, 0.1, 0.005) for _ in range(comparisons)]
    wrong = np.mean([stats.corrected_tests(d, 90, 10)["p_equivalent"] < 0.05 for d in differences])
    assert wrong <= 0.05 + 0.02 * slack


def equally_good(rng, p, n=200, k=10, repeats=10):
    "Differences of AUC, fold by fold, between discriminants on two blocks of equally informative features"
    sign = np.repeat([-1.0, 1.0], n // 2)
    halves = [np.tile(np.arange(n // 2) + h * n // 2, (repeats, 1)) for h in (0, 1)]
    test = np.concatenate([rng.permuted(h, axis=1).reshape(repeats * k, -1) for h in halves], axis=1)
    blocks = [np.c_[rng.normal(size=(n, p)) + 0.8 / np.sqrt(p) * sign[:, None], np.ones(n)] for _ in range(2)]
    return np.subtract(*(fold_aucs(X, sign, test) for X in blocks))


def fold_aucs(X, sign, test):
    "AUC of least squares in each fold, from one fit on all rows"
    H = X @ np.linalg.solve(X.T @ X, X.T)
    left = np.eye(test.shape[1]) - H[test[:, :, None], test[:, None, :]]
    score = sign[test] - np.linalg.solve(left, (sign - H @ sign)[test][..., None])[..., 0]
    negative, positive = np.split(score, 2, axis=1)
    return (positive[:, :, None] > negative[:, None, :]).mean((1, 2))


@pytest.mark.parametrize("tables, slack", [(150, 3), pytest.param(2000, 1, marks=pytest.mark.slow)])
def test_error_rates_with_real_learners_on_real_folds(tables, slack):
    rng = np.random.default_rng(tables)
    result = [stats.corrected_tests(equally_good(rng, 10), 180, 20) for _ in range(tables)]
    alarms = np.mean([f["p_value"] < 0.05 for f in result])
    covered = np.mean([f["ci95"][0] <= 0 <= f["ci95"][1] for f in result])
    assert abs(alarms - 0.05) <= 0.02 * slack and abs(covered - 0.95) <= 0.02 * slack
