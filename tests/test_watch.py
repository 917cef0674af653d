"""Following a training: every epoch of every network is told, no number changes, and True ends it."""

from functools import cache
from types import SimpleNamespace

import numpy as np
import pytest
from sklearn.datasets import make_classification
from sklearn.metrics import log_loss
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from mlp_bench import estimators, evaluation, tracking
from mlp_bench.estimators import NumpyMLPClassifier, fit_fleet
from mlp_bench.data import load
from mlp_bench.keras_mlp import KerasMLPClassifier
from mlp_bench.config import Config
from mlp_bench.evaluation import TrainingStopped, estimator, evaluate, fit_all
from mlp_bench.manager import run

CLASSES = {"numpy": NumpyMLPClassifier, "keras": KerasMLPClassifier}
NETWORKS = list(CLASSES)
HEART = load("heart")
X, y = make_classification(120, 7, n_informative=4, flip_y=0.1, random_state=3)
SMALL = dict(plan="cv:3", epochs=4, hidden_layer_sizes=(6, 4))
STOPPING = dict(early_stopping=True, patience=1, learning_rate=0.03, epochs=40, validation_fraction=0.3)
both = pytest.mark.parametrize("backend", NETWORKS)
ours_first = pytest.mark.parametrize("backend", ["numpy", pytest.param("keras", marks=pytest.mark.slow)])


def events_of(**settings):
    "What an evaluation gives, and the events of it"
    events = []
    return evaluate(Config(**(SMALL | settings)), HEART, None, events.append), events


@cache
def four_networks(backend):
    "The events of two folds, two members each, in every digit"
    return events_of(backend=backend, plan="cv:2", dtype="float64", rng="keras", ensemble=2)[1]


def facts(event):
    return event.fold, event.member, event.epoch, event.loss, event.held_out_loss


def numbers(folds):
    return folds.drop(columns=["fit_seconds", "predict_us_per_row"])


def arrays(model):
    return [a for W, b in model.members_ for a in (*W, *b)]


def assert_same_bits(a, b):
    assert a.loss_curve_ == b.loss_curve_
    assert getattr(a, "validation_loss_curve_", None) == getattr(b, "validation_loss_curve_", None)
    for mine, theirs in zip(arrays(a), arrays(b), strict=True):
        np.testing.assert_array_equal(mine, theirs)


AVERAGING = dict(average_last=0.5, l2=1e-3)


@pytest.mark.parametrize(
    "backend, more",
    [
        pytest.param("numpy", AVERAGING, id="averaged"),
        pytest.param("numpy", STOPPING, id="stopping early"),
        pytest.param("keras", AVERAGING, id="averaged-keras"),
        pytest.param("keras", STOPPING, id="stopping early-keras", marks=pytest.mark.slow),
    ],
)
def test_weights_and_loss_curves_are_the_same_bits_followed_or_not(backend, more):
    size = 2 if backend == "numpy" else 1  # Keras trains its networks one by one
    config = Config(**(SMALL | dict(backend=backend, ensemble=size) | more))
    tables, events = [(X[:80], y[:80]), (X[40:], y[40:])][:size], []
    followed, alone = ([estimator(config) for _ in tables] for _ in range(2))
    fit_all(followed, tables, None, events.append)
    fit_all(alone, tables)
    for a, b in zip(followed, alone):
        assert_same_bits(a, b)
    for table, model in enumerate(followed):  # the first member of each
        told = [(e.epoch, e.loss) for e in events if (e.fold, e.member) == (table, 0)]
        assert told == list(enumerate(model.loss_curve_))
    if more is STOPPING:
        assert 4 < max(len(model.loss_curve_) for model in followed) < 40


@ours_first
def test_an_evaluation_gives_the_same_numbers_followed_or_not(backend):
    settings = dict(backend=backend, plan="cv:2", ensemble=2) | STOPPING
    (folds, oof, curve), _ = events_of(**settings)
    others, other_oof, other_curve = evaluate(Config(**(SMALL | settings)), HEART)
    assert numbers(folds).equals(numbers(others))
    assert oof.equals(other_oof) and np.array_equal(curve, other_curve)


@both
def test_every_epoch_of_every_network_is_told_once_and_in_order(backend):
    events = four_networks(backend)
    assert len(events) == 2 * 2 * 4
    for network in [(0, 0), (0, 1), (1, 0), (1, 1)]:
        assert [e.epoch for e in events if (e.fold, e.member) == network] == list(range(4))
    assert all(
        type(value) is float and np.isfinite(value) for e in events for value in (e.loss, e.held_out_loss)
    )


@pytest.mark.parametrize(
    "backend, dtype, plan",
    [
        ("numpy", "float32", "cv:3"),
        ("numpy", "float64", "cv:3"),
        ("keras", "float32", "holdout"),
        pytest.param("keras", "float64", "cv:3", marks=pytest.mark.slow),
    ],
)
def test_the_last_held_out_loss_is_that_of_the_folds_predictions(backend, dtype, plan):
    penalties = dict(l2=1e-2, label_smoothing=0.1, class_weight="balanced")
    settings = dict(backend=backend, dtype=dtype, plan=plan) | penalties
    (folds, oof, _), events = events_of(**settings)
    last = {e.fold: e.held_out_loss for e in events}
    losses = [last[fold] for fold in folds.fold]
    np.testing.assert_allclose(
        losses, [log_loss(rows.y, rows.p) for _, rows in oof.groupby("fold")], atol=1e-5
    )
    np.testing.assert_allclose(losses, folds.log_loss, atol=1e-5)


def test_both_backends_tell_the_same_keras_and_ours():
    ours, theirs = (sorted(map(facts, four_networks(backend))) for backend in NETWORKS)
    np.testing.assert_allclose(ours, theirs, rtol=1e-9)


def test_networks_keep_their_names_through_chunks_and_blocks(monkeypatch):
    _, whole = events_of(plan="cv:5", ensemble=2)
    monkeypatch.setattr(evaluation, "MAX_ROWS_AT_ONCE", 2 * len(HEART.y))  # two folds at once
    monkeypatch.setattr(estimators, "BLOCK", 3)
    _, cut = events_of(plan="cv:5", ensemble=2)
    whole, cut = list(map(facts, whole)), list(map(facts, cut))
    assert whole != cut and sorted(whole) == sorted(cut)


def test_a_fleet_that_is_followed_stays_in_this_process(monkeypatch):
    monkeypatch.setattr(estimators, "MIN_PARALLEL_WORK", 0)

    def nets():
        return [NumpyMLPClassifier((6,), epochs=3 + i % 2, ensemble=2, random_state=i) for i in range(4)]

    events = []
    followed = fit_fleet(nets(), [(X, y)] * 4, -1, None, events.append)
    told = sorted((e.fold, e.member, e.epoch) for e in events)
    assert told == [(i, member, epoch) for i in range(4) for member in range(2) for epoch in range(3 + i % 2)]
    for a, b in zip(followed, fit_fleet(nets(), [(X, y)] * 4, 2)):
        assert_same_bits(a, b)


@both
def test_epochs_are_told_while_the_network_trains(backend):
    kernels = []

    def note(event):
        kernels.append(event.weights()[0][0])

    model = CLASSES[backend]((6, 4), epochs=4, random_state=0).fit(X, y, on_epoch=note)
    assert all(not np.array_equal(a, b) for a, b in zip(kernels, kernels[1:]))  # each epoch has its own
    np.testing.assert_array_equal(kernels[-1], model.coefs_[0])


@pytest.mark.parametrize(
    "backend, more",
    [
        ("numpy", dict()),
        ("numpy", dict(average_last=0.5)),
        ("numpy", dict(early_stopping=True, patience=10)),
        pytest.param("keras", dict(), marks=pytest.mark.slow),
        ("keras", dict(average_last=0.5)),
        pytest.param("keras", dict(early_stopping=True, patience=10), marks=pytest.mark.slow),
    ],
    ids=str,
)
def test_true_stops_a_network_which_keeps_what_it_has(backend, more):
    options = dict(hidden_layer_sizes=(6, 4), random_state=0) | more
    stopped = CLASSES[backend](epochs=8, **options).fit(X, y, on_epoch=lambda event: event.epoch == 2)
    brief = CLASSES[backend](epochs=3, **options | {"average_last": 0.0}).fit(X, y)
    assert_same_bits(stopped, brief)
    assert stopped.n_iter_ == 3


@ours_first
def test_true_stops_one_member_and_not_the_others(backend):
    options = dict(hidden_layer_sizes=(6, 4), epochs=5, ensemble=2, random_state=0)
    stopped = CLASSES[backend](**options).fit(
        X, y, on_epoch=lambda event: event.member == 0 and event.epoch == 1
    )
    whole = CLASSES[backend](**options).fit(X, y)
    assert len(stopped.loss_curve_) == 2 and len(whole.loss_curve_) == 5
    assert not np.array_equal(stopped.members_[0][0][0], whole.members_[0][0][0])
    np.testing.assert_array_equal(stopped.members_[1][0][0], whole.members_[1][0][0])


def test_a_stopped_run_is_not_recorded(store):
    config, epochs = Config(**SMALL), []

    def enough(event):
        epochs.append(event.epoch)
        return event.epoch == 1

    with pytest.raises(TrainingStopped, match="epoch 2 of 4"):
        run(config, dataset=HEART, on_epoch=enough)
    assert max(epochs) == 1 and tracking.runs().empty
    assert not run(config, dataset=HEART).cached


@pytest.mark.parametrize("true", [True, False], ids=["keras-True", "keras-raises"])
def test_a_follower_ends_the_training_of_keras_too(true):
    config, epochs = Config(**(SMALL | dict(backend="keras"))), []

    def follow(event):
        epochs.append(event.epoch)
        if event.epoch == 1 and not true:
            raise KeyboardInterrupt("enough")
        return event.epoch == 1

    with pytest.raises(TrainingStopped if true else KeyboardInterrupt, match="epoch 2 of 4|enough"):
        evaluate(config, HEART, None, follow)
    assert epochs == [0, 1]


def test_an_exception_of_the_follower_ends_the_training(store):
    config, epochs = Config(**SMALL), []

    def interrupt(event):
        epochs.append(event.epoch)
        if event.epoch == 1:
            raise KeyboardInterrupt("enough")

    with pytest.raises(KeyboardInterrupt, match="enough"):
        run(config, dataset=HEART, on_epoch=interrupt)
    assert max(epochs) == 1 and tracking.runs().empty
    assert not run(config, dataset=HEART).cached


def test_a_run_tells_of_its_folds_and_a_cached_one_of_nothing(store):
    config, events = Config(**SMALL), []
    first = run(config, dataset=HEART, on_epoch=events.append)
    assert len(events) == 3 * 4  # not of the last fit on all rows
    again = run(config, dataset=HEART, on_epoch=events.append)
    assert again.cached and again.key == first.key and len(events) == 3 * 4
    forced = run(config, force=True, dataset=HEART)
    assert numbers(forced.folds).equals(numbers(first.folds)) and np.array_equal(forced.curve, first.curve)


@pytest.mark.parametrize("backend", ["majority", "logistic", "sklearn_mlp", "hist_gb"])
def test_baselines_tell_nothing(backend):
    _, events = events_of(backend=backend)
    assert events == []


@ours_first
def test_the_followers_time_is_not_the_fits(backend, monkeypatch):
    clock = [0.0]
    monkeypatch.setattr(evaluation, "time", SimpleNamespace(perf_counter=lambda: clock[0]))

    def take_long(event):
        clock[0] += 1000

    folds, *_ = evaluate(Config(**(SMALL | dict(backend=backend, plan="cv:2"))), HEART, None, take_long)
    assert clock[0] == 2 * 4 * 1000 and folds.fit_seconds.eq(0).all()


# ---- scikit-learn's own callbacks, from 1.9 on


class Recorder:
    "A callback that notes what it hears, and what the estimator so far would say"

    def __init__(self):
        self.tasks, self.predictions = [], []

    def setup(self, estimator, context):
        pass

    def teardown(self, estimator, context):
        pass

    def on_fit_task_begin(self, estimator, context):
        pass

    def on_fit_task_end(self, estimator, context, *, X, fitted_estimator):
        self.tasks.append(context.task_name)
        if fitted_estimator is not None:
            self.predictions.append(fitted_estimator.predict_proba(X)[:, 1])


@pytest.mark.parametrize("cls", [NumpyMLPClassifier, KerasMLPClassifier], ids=["numpy", "keras"])
def test_a_callback_of_scikit_learn_hears_of_each_epoch_and_sees_the_network_so_far(cls):
    pytest.importorskip("sklearn.callback")
    recorder = Recorder()
    followed = cls((6,), epochs=3, random_state=0).set_callbacks(recorder).fit(X, y)
    assert len(recorder.predictions) >= 3
    np.testing.assert_array_equal(recorder.predictions[2], followed.predict_proba(X)[:, 1])
    assert not np.array_equal(recorder.predictions[0], recorder.predictions[2])
    if cls is NumpyMLPClassifier:
        assert_same_bits(followed, cls((6,), epochs=3, random_state=0).fit(X, y))


def test_progress_bars_and_monitors_work_alone_in_pipelines_and_in_searches():
    callback = pytest.importorskip("sklearn.callback")
    net = NumpyMLPClassifier((4,), epochs=3, ensemble=2, random_state=0)
    search = GridSearchCV(
        make_pipeline(StandardScaler(), net), {"numpymlpclassifier__dropout": [0.0, 0.2]}, cv=2
    )
    for model in (net, make_pipeline(StandardScaler(), net), search):
        model.set_callbacks(callback.ProgressBar()).fit(X, y)
        model.set_callbacks()  # one inside another would have its own
    monitor = callback.ScoringMonitor(scoring="roc_auc")
    NumpyMLPClassifier((4,), epochs=3, random_state=0).set_callbacks(monitor).fit(X, y)
    assert monitor.get_logs().data_as_pandas.roc_auc.notna().sum() >= 3
