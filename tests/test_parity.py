"""NumPy and live Keras, from the same seed, hold the same weights."""
import numpy as np
import pytest
from sklearn.datasets import make_classification

from mlp_bench.keras_mlp import KerasMLPClassifier, network
from mlp_bench.numpy_mlp import ACTIVATIONS, OPTIMIZERS, NumpyMLPClassifier

X, y = make_classification(550, 20, n_informative=8, flip_y=0.1, random_state=4)  # 18 steps an epoch, the last of 6 rows
EVERYTHING = dict(l2=1e-3, weight_decay=4e-3, label_smoothing=0.1, class_weight="balanced", dropout=0.2)


def gap(**options):
    options = dict(rng="keras", random_state=0) | options
    ours, theirs = NumpyMLPClassifier(**options).fit(X, y), KerasMLPClassifier(**options).fit(X, y)
    np.testing.assert_allclose(ours.loss_curve_, theirs.loss_curve_, rtol=1e-5)
    return max(np.abs(a - b).max() for a, b in zip(ours.coefs_ + ours.intercepts_, theirs.coefs_ + theirs.intercepts_))


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_float32_weights_agree_after_100_steps_without_dropout(optimizer):
    assert gap(optimizer=optimizer, dropout=0.0, epochs=6) <= 1e-6


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_float64_weights_agree_to_the_last_digits_with_everything_on(optimizer):
    assert gap(optimizer=optimizer, dtype="float64", epochs=6, **EVERYTHING) <= 1e-14


@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_every_activation_agrees(activation):
    assert gap(activation=activation, dtype="float64", epochs=6) <= 1e-14


@pytest.mark.parametrize("options", [
    dict(early_stopping=True, patience=3, learning_rate=0.01, epochs=60), dict(average_last=0.5, epochs=5), dict(ensemble=2, epochs=2),
    dict(initializer="glorot_normal", epochs=2), dict(hidden_layer_sizes=(8, 8, 8), batch_size=7, epochs=2), dict(hidden_layer_sizes=(), epochs=3)],
    ids=lambda options: next(iter(options)))
def test_estimators_agree_through_the_front_door(options):
    assert gap(dtype="float64", **options) <= 1e-14


@pytest.mark.slow
@pytest.mark.parametrize("optimizer", OPTIMIZERS)
@pytest.mark.parametrize("extras", [dict(dropout=0.0), dict(dropout=0.2), dict(dropout=0.0, l2=1e-3), dict(dropout=0.0, weight_decay=4e-3), EVERYTHING],
                         ids=["plain", "dropout", "l2", "decay", "everything"])
def test_float64_weights_agree_after_1800_steps(optimizer, extras):
    assert gap(optimizer=optimizer, dtype="float64", epochs=100, **extras) <= 1e-14


@pytest.mark.slow
@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_activations_agree_after_1800_steps(activation):
    assert gap(activation=activation, dtype="float64", epochs=100) <= 1e-14


def test_weights_travel_to_keras_and_back_unchanged():
    ours = NumpyMLPClassifier(epochs=5, random_state=0).fit(X, y)
    model = network([20, 32, 16, 1], "relu")
    model.set_weights([a for pair in zip(ours.coefs_, ours.intercepts_) for a in pair])
    assert all(np.array_equal(a, b) for a, b in zip(model.get_weights()[::2], ours.coefs_))
    logits = np.asarray(model(X.astype("float32")))[:, 0]
    np.testing.assert_allclose(1 / (1 + np.exp(-logits)), ours.predict_proba(X)[:, 1], atol=1e-6)
