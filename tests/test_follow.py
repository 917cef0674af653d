"""Following a training: every epoch of every network is told once, no number changes, and a true answer stops it."""

from types import SimpleNamespace

import numpy as np
import pytest
from sklearn.datasets import make_classification
from sklearn.metrics import log_loss
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from mlp_bench import estimators, evaluation, fleet, tracking
from mlp_bench.config import Config
from mlp_bench.data import load
from mlp_bench.estimators import NumpyMLPClassifier, fit_fleet
from mlp_bench.evaluation import evaluate, fit_all
from mlp_bench.keras_mlp import KerasMLPClassifier
from mlp_bench.manager import run
from mlp_bench.numpy_mlp import TrainingStopped

NETWORKS = ["numpy", "keras"]
CLASSES = {"numpy": NumpyMLPClassifier, "keras": KerasMLPClassifier}
HEART = load("heart")
X, y = make_classification(120, 7, n_informative=4, flip_y=0.1, random_state=3)
SMALL = dict(plan="cv:3", epochs=4, hidden_layer_sizes=(6, 4))
STOPPING = dict(early_stopping=True, patience=1, learning_rate=0.03, epochs=40, validation_fraction=0.3)
both = pytest.mark.parametrize("backend", NETWORKS)


def followed(**settings):
    "What an evaluation gives, and the events of its epochs"
    events = []
    return evaluate(Config(**(SMALL | settings)), HEART, None, lambda **event: events.append(event)), events


def in_order(events):
    return sorted(tuple(event.values()) for event in events)


def numbers(folds):
    return folds.drop(columns=["fit_seconds", "predict_us_per_row"])


def arrays(model):
    return [a for W, b in model.members_ for a in (*W, *b)]


def assert_same_bits(a, b):
    assert a.loss_curve_ == b.loss_curve_
    assert getattr(a, "validation_loss_curve_", None) == getattr(b, "validation_loss_curve_", None)
    for mine, theirs in zip(arrays(a), arrays(b), strict=True):
        np.testing.assert_array_equal(mine, theirs)


@pytest.mark.parametrize("more", [dict(average_last=0.5, l2=1e-3), STOPPING], ids=["averaged", "stopping early"])
@pytest.mark.parametrize("backend", ["numpy", pytest.param("keras", marks=pytest.mark.slow)])
def test_weights_and_loss_curves_are_the_same_bits_followed_or_not(backend, more):
    config = Config(**(SMALL | dict(backend=backend, ensemble=2) | more))
    tables, events = [(X[:80], y[:80]), (X[40:], y[40:])], []
    models = fit_all(config, tables, None, lambda **event: events.append(event))[0]
    for a, b in zip(models, fit_all(config, tables)[0]):
        assert_same_bits(a, b)
    for fold, model in enumerate(models):
        first = [(e["epoch"], e["loss"]) for e in events if (e["fold"], e["member"]) == (fold, 0)]
        assert first == list(enumerate(model.loss_curve_))
    if more is STOPPING: assert 4 < max(len(model.loss_curve_) for model in models) < 40


@pytest.mark.parametrize("backend", ["numpy", pytest.param("keras", marks=pytest.mark.slow)])
def test_an_evaluation_gives_the_same_numbers_followed_or_not(backend):
    settings = dict(backend=backend, plan="cv:2", ensemble=2) | STOPPING
    (folds, oof, curve), _ = followed(**settings)
    others, other_oof, other_curve = evaluate(Config(**(SMALL | settings)), HEART)
    assert numbers(folds).equals(numbers(others)) and oof.equals(other_oof)
    assert np.array_equal(curve, other_curve)


@both
def test_every_epoch_of_every_network_is_told_once_and_in_order(backend):
    _, events = followed(backend=backend, plan="cv:2", ensemble=2)
    networks = {(fold, member): [] for fold in (0, 1) for member in (0, 1)}
    for event in events:
        networks[event["fold"], event["member"]].append(event["epoch"])
    assert all(epochs == [0, 1, 2, 3] for epochs in networks.values())
    losses = [event[name] for event in events for name in ("loss", "held_out_loss")]
    assert all(type(loss) is float and np.isfinite(loss) for loss in losses)


@pytest.mark.parametrize("backend, dtype", [("numpy", "float32"), ("numpy", "float64"), ("keras", "float32")])
def test_the_last_held_out_loss_is_that_of_the_folds_predictions(backend, dtype):
    more = dict(l2=1e-2, label_smoothing=0.1, class_weight="balanced")
    (folds, oof, _), events = followed(backend=backend, dtype=dtype, **more)
    last = [event["held_out_loss"] for event in events if event["epoch"] == 3]
    predicted = [log_loss(rows.y, rows.p) for _, rows in oof.groupby("fold")]
    np.testing.assert_allclose(last, predicted, atol=1e-5)
    np.testing.assert_allclose(last, folds.log_loss, atol=1e-5)


def test_both_backends_tell_the_same_keras_and_numpy():
    settings = dict(plan="cv:2", dtype="float64", rng="keras", ensemble=2)
    (_, ours), (_, theirs) = (followed(backend=backend, **settings) for backend in NETWORKS)
    np.testing.assert_allclose(in_order(ours), in_order(theirs), rtol=1e-9)


def test_networks_are_named_through_chunks_and_blocks(monkeypatch):
    _, whole = followed(plan="cv:5", ensemble=2)
    monkeypatch.setattr(evaluation, "MAX_ROWS_AT_ONCE", 2 * len(HEART.y))  # two folds at once
    monkeypatch.setattr(fleet, "BLOCK", 3)
    _, cut = followed(plan="cv:5", ensemble=2)
    assert whole != cut and in_order(whole) == in_order(cut)


def test_a_fleet_that_is_followed_stays_in_this_process(monkeypatch):
    monkeypatch.setattr(estimators, "MIN_PARALLEL_WORK", 0)

    def nets():
        return [NumpyMLPClassifier((6,), epochs=3 + i % 2, ensemble=2, random_state=i) for i in range(4)]

    events = []
    models = fit_fleet(nets(), [(X, y)] * 4, -1, on_epoch=lambda **event: events.append(event))
    told = sorted((event["fold"], event["member"], event["epoch"]) for event in events)
    assert told == [(fold, member, epoch) for fold in range(4) for member in (0, 1) for epoch in range(3 + fold % 2)]
    for a, b in zip(models, fit_fleet(nets(), [(X, y)] * 4, 2)):
        assert_same_bits(a, b)


@both
def test_epochs_are_told_while_the_network_trains(backend):
    kept = []

    def judge(W, b):
        kept.append(np.array(W[0]))

    fit_all(Config(**(SMALL | dict(backend=backend))), [(X, y)], None, lambda **event: None, [judge])
    assert len(kept) == 4 and all(not np.array_equal(a, b) for a, b in zip(kept, kept[1:]))


@both
def test_a_true_answer_stops_the_training_and_nothing_of_it_is_kept(store, backend):
    config, epochs = Config(**(SMALL | dict(backend=backend))), []

    def enough(epoch, **event):
        epochs.append(epoch)
        return epoch == 1

    with pytest.raises(TrainingStopped, match="after epoch 2"): run(config, dataset=HEART, on_epoch=enough)
    assert max(epochs) == 1 and tracking.runs().empty
    assert [r.info.status for r in tracking.purgeable(broken=True)] == ["KILLED"]
    assert not run(config, dataset=HEART).cached


def test_an_exception_of_who_follows_ends_the_training(store):
    def fail(epoch, **event):
        if epoch == 1: raise KeyboardInterrupt("enough")

    with pytest.raises(KeyboardInterrupt, match="enough"): run(Config(**SMALL), dataset=HEART, on_epoch=fail)
    assert tracking.runs().empty


def test_a_run_tells_of_its_folds_and_a_cached_one_of_nothing(store):
    config, events = Config(**SMALL), []
    first = run(config, dataset=HEART, on_epoch=lambda **event: events.append(event))
    assert len(events) == 3 * 4  # not of the last fit on all rows
    again = run(config, dataset=HEART, on_epoch=lambda **event: events.append(event))
    assert again.cached and again.key == first.key and len(events) == 3 * 4
    forced = run(config, force=True, dataset=HEART)
    assert numbers(forced.folds).equals(numbers(first.folds)) and np.array_equal(forced.curve, first.curve)


@pytest.mark.parametrize("backend", ["majority", "logistic", "sklearn_mlp", "hist_gb"])
def test_baselines_tell_nothing(backend):
    assert followed(backend=backend)[1] == []


@both
def test_the_time_of_who_follows_is_not_the_fits(backend, monkeypatch):
    clock = [0.0]
    monkeypatch.setattr(evaluation, "time", SimpleNamespace(perf_counter=lambda: clock[0]))

    def slow(**event):
        clock[0] += 1000

    folds, *_ = evaluate(Config(**(SMALL | dict(backend=backend, plan="cv:2"))), HEART, None, slow)
    assert clock[0] == 2 * 4 * 1000 and folds.fit_seconds.eq(0).all()


# ---- scikit-learn's own callbacks, from 1.9 on


class Recorder:
    "A callback that notes what it hears, and what the estimator so far would say"

    max_propagation_depth = None

    def __init__(self):
        self.tasks, self.predictions = [], []

    def setup(self, estimator, context): pass

    def teardown(self, estimator, context): pass

    def on_fit_task_begin(self, estimator, context): pass

    def on_fit_task_end(self, estimator, context, *, X, y, fitted_estimator):
        self.tasks.append(context.task_name)
        if context.task_name == "epoch": self.predictions.append(fitted_estimator.predict_proba(X)[:, 1])


@both
def test_a_callback_of_scikit_learn_hears_of_each_epoch_and_sees_the_network_so_far(backend):
    pytest.importorskip("sklearn.callback")
    recorder = Recorder()
    model = CLASSES[backend]((6,), epochs=3, random_state=0)
    followed = model.set_callbacks(recorder).fit(X, y)
    assert recorder.tasks == ["epoch"] * 3 + ["fit"]
    np.testing.assert_array_equal(recorder.predictions[-1], followed.predict_proba(X)[:, 1])
    assert not np.array_equal(recorder.predictions[0], recorder.predictions[-1])
    plain = CLASSES[backend]((6,), epochs=3, random_state=0).fit(X, y)
    assert_same_bits(followed, plain)


def test_progress_bars_and_monitors_work_alone_in_pipelines_and_in_searches():
    callback = pytest.importorskip("sklearn.callback")
    net = NumpyMLPClassifier((4,), epochs=3, ensemble=2, random_state=0)
    search = GridSearchCV(make_pipeline(StandardScaler(), net), {"numpymlpclassifier__dropout": [0.0, 0.2]}, cv=2)
    for model in (net, make_pipeline(StandardScaler(), net), search):
        model.set_callbacks(callback.ProgressBar()).fit(X, y)
        model.set_callbacks()
    monitor = callback.ScoringMonitor(scoring="roc_auc")
    NumpyMLPClassifier((4,), epochs=3, random_state=0).set_callbacks(monitor).fit(X, y)
    scores = monitor.get_logs().data_as_pandas
    assert (scores.task_name == "epoch").sum() == 3
