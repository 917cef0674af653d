"""Watching a fit: every epoch of every network is told, and no number changes."""
from types import SimpleNamespace

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.datasets import make_classification
from sklearn.metrics import log_loss

from mlp_bench import estimators, fleet, evaluation, tracking
from mlp_bench.estimators import NumpyMLPClassifier, fit_fleet
from mlp_bench.data import load
from mlp_bench.keras_mlp import KerasMLPClassifier
from mlp_bench.config import Config
from mlp_bench.evaluation import evaluate, fit_all
from mlp_bench.manager import run

NETWORKS = ["numpy", "keras"]
HEART = load("heart")
X, y = make_classification(120, 7, n_informative=4, flip_y=0.1, random_state=3)
SMALL = dict(plan="cv:3", epochs=4, hidden_layer_sizes=(6, 4))
STOPPING = dict(early_stopping=True, patience=1, learning_rate=0.03, epochs=40, validation_fraction=0.3)
both = pytest.mark.parametrize("backend", NETWORKS)


def seen(**settings):
    "What an evaluation gives, and what its watcher is told"
    calls = []
    return evaluate(Config(**(SMALL | settings)), HEART, None, lambda *facts: calls.append(facts)), calls


def numbers(folds): return folds.drop(columns=["fit_seconds", "predict_us_per_row"])


def arrays(model): return [a for W, b in model.members_ for a in (*W, *b)]


def assert_same_bits(a, b):
    assert a.loss_curve_ == b.loss_curve_ and getattr(a, "validation_loss_curve_", None) == getattr(b, "validation_loss_curve_", None)
    for mine, theirs in zip(arrays(a), arrays(b), strict=True): np.testing.assert_array_equal(mine, theirs)


@both
@pytest.mark.parametrize("more", [dict(average_last=0.5, l2=1e-3), STOPPING], ids=["averaged", "stopping early"])
def test_weights_and_loss_curves_are_the_same_bits_watched_or_not(backend, more):
    config, tables, calls = Config(**(SMALL | dict(backend=backend, ensemble=2) | more)), [(X[:80], y[:80]), (X[40:], y[40:])], []
    watched = fit_all(config, tables, None, lambda i, epoch, loss, W, b: calls.append((i, epoch, loss)))[0]
    for a, b in zip(watched, fit_all(config, tables)[0]): assert_same_bits(a, b)
    for table, model in enumerate(watched):  # the first member of each
        assert [facts[1:] for facts in calls if facts[0] == 2 * table] == list(enumerate(model.loss_curve_))
    if more is STOPPING: assert 4 < max(len(model.loss_curve_) for model in watched) < 40


@pytest.mark.parametrize("backend", ["numpy", pytest.param("keras", marks=pytest.mark.slow)])
def test_an_evaluation_gives_the_same_numbers_watched_or_not(backend):
    settings = dict(backend=backend, plan="cv:2", ensemble=2) | STOPPING
    (folds, oof, curve), _ = seen(**settings)
    others, other_oof, other_curve = evaluate(Config(**(SMALL | settings)), HEART)
    assert numbers(folds).equals(numbers(others)) and oof.equals(other_oof) and np.array_equal(curve, other_curve)


@both
def test_every_epoch_of_every_network_is_told_once_and_in_order(backend):
    _, calls = seen(backend=backend, plan="cv:2", ensemble=2)
    assert len(calls) == 2 * 2 * 4
    for network in range(4): assert [epoch for i, epoch, *_ in calls if i == network] == list(range(4))
    assert all(type(value) is float and np.isfinite(value) for *_, loss, held_out in calls for value in (loss, held_out))


@both
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_the_last_held_out_loss_is_that_of_the_folds_predictions(backend, dtype):
    (folds, oof, _), calls = seen(backend=backend, dtype=dtype, l2=1e-2, label_smoothing=0.1, class_weight="balanced")
    last = [held_out for _, epoch, _, held_out in sorted(calls) if epoch == 3]
    np.testing.assert_allclose(last, [log_loss(rows.y, rows.p) for _, rows in oof.groupby("fold")], atol=1e-5)
    np.testing.assert_allclose(last, folds.log_loss, atol=1e-5)


def test_both_backends_tell_the_same():
    (_, ours), (_, theirs) = (seen(backend=backend, plan="cv:2", dtype="float64", rng="keras", ensemble=2) for backend in NETWORKS)
    np.testing.assert_allclose(sorted(ours), sorted(theirs), rtol=1e-9)


def test_networks_are_numbered_through_chunks_and_blocks(monkeypatch):
    _, whole = seen(plan="cv:5", ensemble=2)
    monkeypatch.setattr(evaluation, "MAX_ROWS_AT_ONCE", 2 * len(HEART.y))  # two folds at once
    monkeypatch.setattr(fleet, "BLOCK", 3)
    _, cut = seen(plan="cv:5", ensemble=2)
    assert whole != cut and sorted(whole) == sorted(cut)


def test_a_fleet_that_is_watched_stays_in_this_process(monkeypatch):
    monkeypatch.setattr(estimators, "MIN_PARALLEL_WORK", 0)
    make, calls = lambda: [NumpyMLPClassifier((6,), epochs=3 + i % 2, ensemble=2, random_state=i) for i in range(4)], []
    watched = fit_fleet(make(), [(X, y)] * 4, -1, None, lambda i, epoch, *_: calls.append((i, epoch)))
    assert sorted(calls) == [(i, epoch) for i in range(8) for epoch in range(3 + i // 2 % 2)]
    for a, b in zip(watched, fit_fleet(make(), [(X, y)] * 4, 2)): assert_same_bits(a, b)


@both
def test_epochs_are_told_while_the_network_trains(backend):
    kept = []
    def watch(i, epoch, loss, W, b): kept.append(W[0].copy())
    fit_all(Config(**(SMALL | dict(backend=backend))), [(X, y)], None, watch)
    assert all(not np.array_equal(a, b) for a, b in zip(kept, kept[1:]))  # each epoch has weights of its own


@both
def test_an_exception_of_the_watcher_stops_the_training(store, backend):
    calls = []
    def watch(network, epoch, *_):
        calls.append(epoch)
        if epoch == 1: raise KeyboardInterrupt("enough")
    with pytest.raises(KeyboardInterrupt, match="enough"): run(Config(**(SMALL | dict(backend=backend))), dataset=HEART, watch=watch)
    assert max(calls) == 1 and tracking.runs().empty
    assert not run(Config(**(SMALL | dict(backend=backend))), dataset=HEART).cached


def test_a_run_tells_of_its_folds_and_a_cached_one_of_nothing(store):
    config, calls = Config(**SMALL), []
    first = run(config, dataset=HEART, watch=lambda *facts: calls.append(facts))
    assert len(calls) == 3 * 4  # not of the last fit on all rows
    again = run(config, dataset=HEART, watch=lambda *facts: calls.append(facts))
    assert again.cached and again.key == first.key and len(calls) == 3 * 4
    forced = run(config, force=True, dataset=HEART)
    assert numbers(forced.folds).equals(numbers(first.folds)) and np.array_equal(forced.curve, first.curve)


@pytest.mark.parametrize("backend", ["majority", "logistic", "sklearn_mlp", "hist_gb"])
def test_baselines_tell_nothing(backend):
    _, calls = seen(backend=backend)
    assert calls == []


@both
def test_the_watchers_time_is_not_the_fits(backend, monkeypatch):
    clock = [0.0]
    monkeypatch.setattr(evaluation, "time", SimpleNamespace(perf_counter=lambda: clock[0]))
    def watch(*_): clock[0] += 1000
    folds, *_ = evaluate(Config(**(SMALL | dict(backend=backend, plan="cv:2"))), HEART, None, watch)
    assert clock[0] == 2 * 4 * 1000 and folds.fit_seconds.eq(0).all()


def test_a_clone_has_no_watcher():
    model = KerasMLPClassifier()
    model._watch = print
    assert clone(model)._watch is None and KerasMLPClassifier._watch is None
