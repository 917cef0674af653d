"""NumPy and live Keras, from the same seed, hold the same weights, whatever they predict."""

import pickle
from itertools import cycle

import numpy as np
import pytest
from scipy.sparse import csr_array
from sklearn.datasets import make_classification

from mlp_bench.keras_mlp import KerasMLPClassifier, KerasMLPRegressor, network
from mlp_bench.numpy_mlp import ACTIVATIONS, HEADS, OPTIMIZERS, train
from mlp_bench.fleet import untrained
from mlp_bench.estimators import REGRESSION_HEADS, NumpyMLPClassifier, NumpyMLPRegressor

# 18 steps an epoch, the last of 6 rows
X, y = make_classification(550, 20, n_informative=8, flip_y=0.1, random_state=4)
RNG = np.random.default_rng(0)
SIGNAL = X[:, :4].mean(axis=1) + np.tanh(X[:, 5]) + RNG.normal(0, 0.3, len(X))
TARGETS = {
    "logistic": y,
    "softmax": np.array(["low", "middle", "high"])[np.digitize(SIGNAL, [-0.7, 0.5])],
    "identity": 100 + 30 * SIGNAL,
    "poisson": RNG.poisson(np.exp(SIGNAL)),
}
WEIGHTS = np.where(np.arange(len(X)) % 2, 0.8, 1.3)
LOSSES = {head: loss for loss, head in REGRESSION_HEADS.items()}
EVERYTHING = dict(l2=1e-3, weight_decay=4e-3, label_smoothing=0.1, class_weight="balanced", dropout=0.2)


def pair(head, **options):
    "The estimator for a head in NumPy and in Keras; options that it does not have are left out"
    options = dict(rng="keras", random_state=0, loss=LOSSES.get(head)) | options
    regressors, classifiers = (NumpyMLPRegressor, KerasMLPRegressor), (NumpyMLPClassifier, KerasMLPClassifier)
    for cls in regressors if head in LOSSES else classifiers:
        known = cls().get_params()
        yield cls(**{name: value for name, value in options.items() if name in known})


def textbook(net, head):
    "coefs, intercepts and loss curve of the textbook, trained by its formulas as the estimator says"
    task, *_ = net._prepare(X, TARGETS[head], WEIGHTS)
    by_hand = untrained(task)
    losses, _ = train(by_hand, *task.rows, net.epochs, net.batch_size)
    return by_hand.W, by_hand.b, losses


def estimator(net, head):
    "The same of the estimator, which trains with the fast engine"
    net.fit(X, TARGETS[head], WEIGHTS)
    return net.coefs_, net.intercepts_, net.loss_curve_


def gap(ours, theirs):
    "Largest difference between weights, over the largest weight if that is more than one"
    size = max(1, *(np.abs(b).max() for b in theirs))
    return max(np.abs(a - b).max() for a, b in zip(ours, theirs, strict=True)) / size


def gaps(ways, head="logistic", **options):
    "Those to Keras, which is trained once"
    net, theirs = pair(head, **options)
    theirs.fit(X, TARGETS[head], WEIGHTS)
    for of in ways:
        coefs, intercepts, losses = of(net, head)
        np.testing.assert_allclose(losses, theirs.loss_curve_, rtol=1e-5, atol=1e-6)
        yield gap(coefs + intercepts, theirs.coefs_ + theirs.intercepts_)


def for_each(name, values):
    "Every head with every value; those that it takes to see each of them once are fast"
    sample = list(zip(cycle(HEADS), values))
    return pytest.mark.parametrize(
        f"head, {name}",
        [
            pytest.param(
                head,
                value,
                id=f"{head}-{value if isinstance(value, str) else next(iter(value))}",
                marks=[] if (head, value) in sample else pytest.mark.slow,
            )
            for head in HEADS
            for value in values
        ],
    )


ACTIVATION_WITH = dict(zip(OPTIMIZERS, [*ACTIVATIONS, "relu"]))


@for_each("optimizer", OPTIMIZERS)
def test_float64_weights_agree_to_the_last_digits_with_everything_on(head, optimizer):
    options = dict(optimizer=optimizer, activation=ACTIVATION_WITH[optimizer], dtype="float64", epochs=6)
    assert max(gaps([textbook, estimator], head, **options | EVERYTHING)) <= 1e-14


@for_each("optimizer", OPTIMIZERS)
def test_float32_weights_agree_after_100_steps_without_dropout(head, optimizer):
    assert max(gaps([textbook, estimator], head, optimizer=optimizer, dropout=0.0, epochs=6)) <= 1e-6


@for_each(
    "options",
    [
        dict(early_stopping=True, patience=3, learning_rate=0.01, epochs=60),
        dict(average_last=0.5, epochs=5),
        dict(ensemble=2, epochs=2),
        dict(ensemble=3, epochs=3, bagging=True),
        dict(initializer="glorot_normal", epochs=2),
        dict(hidden_layer_sizes=(8, 8, 8), batch_size=7, epochs=2),
        dict(hidden_layer_sizes=(), epochs=3),
    ],
)
def test_estimators_agree_through_the_front_door(head, options):
    assert max(gaps([estimator], head, dtype="float64", **options)) <= 1e-14


SMALL = dict(hidden_layer_sizes=(8,), batch_size=100)  # Keras builds it sooner
AFTER_1800_STEPS = dict(dtype="float64", epochs=100, hidden_layer_sizes=(32, 16))


@pytest.mark.slow
@pytest.mark.parametrize("head", HEADS)
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
def test_float64_weights_agree_after_1800_steps(head, optimizer, extras):
    by_hand, fast = gaps([textbook, estimator], head, optimizer=optimizer, **AFTER_1800_STEPS, **extras)
    assert by_hand <= 1e-14 and fast <= 1e-12


@pytest.mark.slow
@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_activations_agree_after_1800_steps(activation):
    by_hand, fast = gaps([textbook, estimator], activation=activation, **AFTER_1800_STEPS)
    assert by_hand <= 1e-14 and fast <= 1e-12


def on_the_first(rows, head):
    return X[:rows], TARGETS[head][:rows], WEIGHTS[:rows]


@pytest.mark.parametrize("head", ["softmax", *(pytest.param(h, marks=pytest.mark.slow) for h in LOSSES)])
def test_estimators_agree_when_they_go_on(head):
    both = list(pair(head, dtype="float64", epochs=2, warm_start=True, early_stopping=True))
    for net in both:
        net.fit(*on_the_first(400, head), X_val=X[400:], y_val=TARGETS[head][400:])  # rows that are given
        net.set_params(early_stopping=False).fit(*on_the_first(550, head))  # a warm start
        for rows in (550, 120, 120):  # and other numbers of rows and steps
            inputs, targets, weights = on_the_first(rows, head)
            net.partial_fit(inputs, targets, sample_weight=weights)
    ours, theirs = both
    assert gap(ours.coefs_ + ours.intercepts_, theirs.coefs_ + theirs.intercepts_) <= 1e-14


@for_each("optimizer", OPTIMIZERS)
def test_passes_of_partial_fit_in_keras_are_the_epochs_of_fit_even_if_it_is_stored(head, optimizer):
    options = dict(optimizer=optimizer, weight_decay=4e-3, l2=1e-3, epochs=3, **SMALL)
    _, whole = pair(head, **options)
    _, passes = pair(head, **options)
    whole.fit(X, TARGETS[head])
    for _ in range(2):
        passes.partial_fit(X, TARGETS[head])
    passes = pickle.loads(pickle.dumps(passes)).partial_fit(X, TARGETS[head])
    assert passes.loss_curve_ == whole.loss_curve_
    ours, theirs = (net.coefs_ + net.intercepts_ for net in (passes, whole))
    assert all(np.array_equal(a, b) for a, b in zip(ours, theirs, strict=True))


def test_settings_of_the_first_pass_hold_for_all_in_both():
    both = list(pair("identity", dtype="float64", **SMALL))
    for net in both:
        net.partial_fit(X, SIGNAL).set_params(optimizer="sgd", learning_rate=0.5).partial_fit(X, SIGNAL)
    ours, theirs = both
    assert gap(ours.coefs_, theirs.coefs_) <= 1e-14


@pytest.mark.parametrize("head", ["softmax", pytest.param("identity", marks=pytest.mark.slow)])
def test_keras_takes_sparse_rows_for_what_they_are(head):
    few = np.where(np.abs(X) > 1, X, 0)
    (_, net), (_, sparse) = (pair(head, epochs=2, **SMALL) for _ in range(2))
    net.fit(few, TARGETS[head]).partial_fit(few, TARGETS[head])
    sparse.fit(csr_array(few), TARGETS[head]).partial_fit(csr_array(few), TARGETS[head])
    assert np.array_equal(sparse.predict(csr_array(few)), net.predict(few))


def test_weights_travel_to_keras_and_back_unchanged():
    ours = NumpyMLPClassifier(epochs=5, random_state=0).fit(X, y)
    model = network([20, 32, 16, 1], "relu")
    model.set_weights([a for pair in zip(ours.coefs_, ours.intercepts_) for a in pair])
    assert all(np.array_equal(a, b) for a, b in zip(model.get_weights()[::2], ours.coefs_))
    logits = np.asarray(model(X.astype("float32")))[:, 0]
    np.testing.assert_allclose(1 / (1 + np.exp(-logits)), ours.predict_proba(X)[:, 1], atol=1e-6)
