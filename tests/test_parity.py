"""NumPy and live Keras, from the same seed, hold the same weights."""

import numpy as np
import pytest
from sklearn.datasets import make_classification

from mlp_bench.keras_mlp import KerasMLPClassifier, network
from mlp_bench.numpy_mlp import ACTIVATIONS, HYPERPARAMETERS, OPTIMIZERS, TextbookMLP, train
from mlp_bench.estimators import NumpyMLPClassifier

# 18 steps an epoch, the last of 6 rows
X, y = make_classification(550, 20, n_informative=8, flip_y=0.1, random_state=4)
EVERYTHING = dict(l2=1e-3, weight_decay=4e-3, label_smoothing=0.1, class_weight="balanced", dropout=0.2)


def textbook(net):
    "coefs, intercepts and loss curve of the textbook, trained by its formulas as the estimator says"
    task, *_ = net._prepare(X, y)
    by_hand = TextbookMLP(
        task.sizes, **{name: task.settings[name] for name in HYPERPARAMETERS}, seed=task.seed
    )
    losses, _ = train(by_hand, *task.rows, net.epochs, net.batch_size)
    return by_hand.W, by_hand.b, losses


def estimator(net):
    "The same of the estimator, which trains with the fast engine"
    net.fit(X, y)
    return net.coefs_, net.intercepts_, net.loss_curve_


def gaps(ways, **options):
    "Largest differences to Keras' weights, which are trained once"
    options = dict(rng="keras", random_state=0) | options
    theirs = KerasMLPClassifier(**options).fit(X, y)
    for of in ways:
        coefs, intercepts, losses = of(NumpyMLPClassifier(**options))
        np.testing.assert_allclose(losses, theirs.loss_curve_, rtol=1e-5)
        both = zip(coefs + intercepts, theirs.coefs_ + theirs.intercepts_)
        yield max(np.abs(a - b).max() for a, b in both)


def gap(of=estimator, **options):
    return next(gaps([of], **options))


# each optimiser, and each activation
PAIRS = list(zip(OPTIMIZERS, [*ACTIVATIONS, "relu"]))


@pytest.mark.parametrize("optimizer, activation", PAIRS)
def test_float64_weights_agree_to_the_last_digits_with_everything_on(optimizer, activation):
    options = dict(optimizer=optimizer, activation=activation, dtype="float64", epochs=6) | EVERYTHING
    assert max(gaps([textbook, estimator], **options)) <= 1e-14


@pytest.mark.parametrize(
    "optimizer", [o if o == "adam" else pytest.param(o, marks=pytest.mark.slow) for o in OPTIMIZERS]
)
def test_float32_weights_agree_after_100_steps_without_dropout(optimizer):
    assert max(gaps([textbook, estimator], optimizer=optimizer, dropout=0.0, epochs=6)) <= 1e-6


@pytest.mark.parametrize(
    "options",
    [
        dict(early_stopping=True, patience=3, learning_rate=0.01, epochs=60),
        dict(average_last=0.5, epochs=5),
        dict(ensemble=2, epochs=2),
        dict(initializer="glorot_normal", epochs=2),
        dict(hidden_layer_sizes=(8, 8, 8), batch_size=7, epochs=2),
        dict(hidden_layer_sizes=(), epochs=3),
    ],
    ids=lambda options: next(iter(options)),
)
def test_estimators_agree_through_the_front_door(options):
    assert gap(dtype="float64", **options) <= 1e-14


AFTER_1800_STEPS = [(textbook, 1e-14), (estimator, 1e-12)]


@pytest.mark.slow
@pytest.mark.parametrize("optimizer", OPTIMIZERS)
@pytest.mark.parametrize(
    "extras",
    [
        dict(dropout=0.0),
        dict(dropout=0.2),
        dict(dropout=0.0, l2=1e-3),
        dict(dropout=0.0, weight_decay=4e-3),
        EVERYTHING,
    ],
    ids=["plain", "dropout", "l2", "decay", "everything"],
)
@pytest.mark.parametrize("of, allowed", AFTER_1800_STEPS, ids=["textbook", "estimator"])
def test_float64_weights_agree_after_1800_steps(optimizer, extras, of, allowed):
    assert gap(of, optimizer=optimizer, dtype="float64", epochs=100, **extras) <= allowed


@pytest.mark.slow
@pytest.mark.parametrize("activation", ACTIVATIONS)
@pytest.mark.parametrize("of, allowed", AFTER_1800_STEPS, ids=["textbook", "estimator"])
def test_activations_agree_after_1800_steps(activation, of, allowed):
    assert gap(of, activation=activation, dtype="float64", epochs=100) <= allowed


def test_weights_travel_to_keras_and_back_unchanged():
    ours = NumpyMLPClassifier(epochs=5, random_state=0).fit(X, y)
    model = network([20, 32, 16, 1], "relu")
    model.set_weights([a for pair in zip(ours.coefs_, ours.intercepts_) for a in pair])
    assert all(np.array_equal(a, b) for a, b in zip(model.get_weights()[::2], ours.coefs_))
    logits = np.asarray(model(X.astype("float32")))[:, 0]
    np.testing.assert_allclose(1 / (1 + np.exp(-logits)), ours.predict_proba(X)[:, 1], atol=1e-6)
