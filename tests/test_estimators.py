"""The two estimators as scikit-learn sees them."""

import copy
import inspect
import pickle
import random
import subprocess
import sys

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.calibration import CalibratedClassifierCV
from sklearn.datasets import make_classification
from sklearn.model_selection import GridSearchCV, cross_val_predict
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils.estimator_checks import check_estimator

from mlp_bench.keras_mlp import KerasMLPClassifier, KerasMLPRegressor
from mlp_bench.numpy_mlp import DivergenceError, TextbookMLP
from mlp_bench.estimators import NumpyMLPClassifier
from mlp_bench.keras_random import tensorflow_uniform

X, y = make_classification(150, 6, n_informative=4, random_state=0)
LABELS = np.array(["healthy", "ill"])[y]
BACKENDS = [NumpyMLPClassifier, KerasMLPClassifier]
WHY = (
    "mini-batches, dropout and the division by the number of rows treat a repeated row differently "
    "from a weight"
)


@pytest.fixture(params=BACKENDS, ids=["numpy", "keras"])
def net(request):
    return request.param(epochs=4, random_state=0)


@pytest.fixture(scope="module", params=BACKENDS, ids=["numpy", "keras"])
def fitted(request):
    "Trained once for all who only look"
    return request.param(epochs=4, random_state=0).fit(X, LABELS)


slow_for_keras = pytest.mark.parametrize(  # what both share, before the backend has its turn
    "net",
    [
        pytest.param(NumpyMLPClassifier, id="numpy"),
        pytest.param(KerasMLPClassifier, id="keras", marks=pytest.mark.slow),
    ],
    indirect=True,
)


def statuses(estimator):
    results = check_estimator(
        estimator,
        on_fail=None,
        on_skip=None,
        expected_failed_checks={
            f"check_sample_weight_equivalence_on_{rows}_data": WHY for rows in ("dense", "sparse")
        },
    )
    return {r["check_name"]: r["exception"] for r in results if r["status"] == "failed"}


def test_numpy_passes_scikit_learns_checks():
    assert statuses(NumpyMLPClassifier()) == {}


@pytest.mark.slow
@pytest.mark.parametrize("cls", [KerasMLPClassifier, KerasMLPRegressor])
def test_keras_passes_scikit_learns_checks(cls):
    assert statuses(cls(epochs=5, learning_rate=0.01)) == {}


def test_parameters_are_written_out_in_the_signature():
    names = [n for n in inspect.signature(NumpyMLPClassifier).parameters]
    assert sorted(names) == sorted(NumpyMLPClassifier().get_params()) and "given" not in names


@pytest.mark.parametrize("cls", BACKENDS)
def test_names_of_scikit_learn_s_network_are_refused_with_ours(cls):
    theirs = dict(max_iter=200, alpha=1e-4, solver="adam", learning_rate_init=1e-3, n_iter_no_change=5)
    MLPClassifier(**theirs)
    with pytest.raises(TypeError) as refused:
        cls(**theirs, tol=1e-4)
    assert str(refused.value) == (
        f"{cls.__name__}: max_iter is called epochs here; alpha is called l2 (on another scale) here; "
        "solver is called optimizer here; learning_rate_init is called learning_rate here; "
        "n_iter_no_change is called patience here; there is no tol."
    )


@pytest.mark.parametrize(
    "theirs, ours", [(dict(activation="logistic"), "'sigmoid'"), (dict(batch_size="auto"), "a number")]
)
def test_values_of_scikit_learn_s_network_are_refused_with_ours(theirs, ours):
    MLPClassifier(max_iter=1, **theirs)
    with pytest.raises(ValueError, match=f"{ours} here"):
        NumpyMLPClassifier(**theirs).fit(X, y)


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
def test_alpha_is_twice_l2_times_the_rows_of_a_batch_as_the_guide_says():
    rows, rate, alpha = len(X), 0.1, 3.0
    shared = dict(hidden_layer_sizes=(4,), batch_size=rows, random_state=0)

    def theirs(rate, alpha):  # the weights after one step of gradient descent on all rows
        net = MLPClassifier(
            solver="sgd", momentum=0, max_iter=1, learning_rate_init=rate, alpha=alpha, **shared
        )
        return net.fit(X, y).coefs_[0]

    def ours(rate, l2):
        net = NumpyMLPClassifier(
            optimizer="sgd", dropout=0, epochs=1, dtype="float64", learning_rate=rate, l2=l2, **shared
        )
        return net.fit(X, y).coefs_[0]

    for step, penalty in (theirs, alpha), (ours, alpha / (2 * rows)):
        shrunk = (step(rate, penalty) - step(rate, 0)) / step(1e-12, 0)  # over the weights at the start
        np.testing.assert_allclose(shrunk, -rate * alpha / rows, rtol=1e-6)


def test_both_signatures_are_the_same():
    assert NumpyMLPClassifier().get_params() == KerasMLPClassifier().get_params()


def test_same_seed_gives_same_bits_and_pickle_keeps_them(fitted):
    p = fitted.predict_proba(X)
    assert np.array_equal(clone(fitted).fit(X, y).predict_proba(X), p)
    assert np.array_equal(pickle.loads(pickle.dumps(fitted)).predict_proba(X), p)


@slow_for_keras
def test_another_seed_gives_other_bits(net):
    p, q = (clone(net).set_params(random_state=seed).fit(X, y).predict_proba(X) for seed in (0, 1))
    assert not np.array_equal(p, q)


def test_global_random_numbers_are_left_alone(net):
    net.set_params(random_state=None)
    before = random.getstate(), np.random.get_state()[1].copy(), np.random.get_state()[2]
    net.fit(X, y)
    after = random.getstate(), np.random.get_state()[1], np.random.get_state()[2]
    assert before[0] == after[0] and np.array_equal(before[1], after[1]) and before[2] == after[2]


@slow_for_keras
def test_random_state_object_is_accepted(net):
    ps = [
        clone(net).set_params(random_state=np.random.RandomState(3)).fit(X, y).predict_proba(X)
        for _ in range(2)
    ]
    assert np.array_equal(*ps)


def test_string_labels_come_back(fitted):
    assert list(fitted.classes_) == ["healthy", "ill"]
    assert set(fitted.predict(X)) <= {"healthy", "ill"}
    assert np.array_equal(fitted.predict(X) == "ill", fitted.decision_function(X) > 0)


def test_probabilities_are_float64_rows_that_sum_to_one(fitted):
    p = fitted.predict_proba(X)
    assert p.dtype == np.float64 and p.shape == (150, 2)
    np.testing.assert_allclose(p.sum(axis=1), 1, atol=1e-15)


def test_long_inputs_are_predicted_in_chunks_with_the_same_result(fitted):
    many = np.tile(X, (40, 1))  # 6,000 rows
    np.testing.assert_allclose(fitted.predict_proba(many)[-150:], fitted.predict_proba(X), rtol=1e-12)


def test_ensemble_averages_probabilities_and_its_first_member_is_the_single_network(fitted):
    many = clone(fitted).set_params(ensemble=2).fit(X, y)
    assert len(many.members_) == 2 and len(fitted.members_) == 1
    assert np.array_equal(many.coefs_[0], fitted.coefs_[0])
    singles = []
    for member in many.members_:
        one = copy.copy(fitted)
        one.members_ = [member]
        singles.append(one.predict_proba(X))
    np.testing.assert_allclose(many.predict_proba(X), np.mean(singles, axis=0), atol=1e-12)


def test_fitted_attributes_have_sklearns_shapes(fitted):
    assert [W.shape for W in fitted.coefs_] == [(6, 32), (32, 16), (16, 1)]
    assert [b.shape for b in fitted.intercepts_] == [(32,), (16,), (1,)]
    assert len(fitted.loss_curve_) == fitted.n_iter_ == 4 and not hasattr(fitted, "validation_loss_curve_")
    assert fitted.coefs_[0].dtype == np.float32


def test_early_stopping_returns_the_best_epoch(net):
    net.set_params(epochs=200, early_stopping=True, patience=3, learning_rate=0.05, dtype="float64").fit(X, y)
    curve = net.validation_loss_curve_
    assert len(curve) == len(net.loss_curve_) == net.n_iter_ < 200
    assert np.argmin(curve) == net.n_iter_ - 4
    assert not hasattr(net.set_params(early_stopping=False, epochs=1).fit(X, y), "validation_loss_curve_")


def test_weights_of_zero_remove_rows_influence(net):
    w = np.r_[np.ones(75), np.zeros(75)]
    flipped = np.r_[y[:75], 1 - y[75:]]
    assert np.array_equal(
        net.fit(X, y, sample_weight=w).predict_proba(X),
        clone(net).fit(X, flipped, sample_weight=w).predict_proba(X),
    )


@slow_for_keras
def test_class_weight_balanced_equals_the_same_sample_weights(net):
    few = np.flatnonzero((y == 0) | (np.arange(150) % 3 == 0))
    weights = len(few) / (2 * np.bincount(y[few]))
    by_class = clone(net).set_params(class_weight="balanced").fit(X[few], y[few])
    by_row = net.fit(X[few], y[few], sample_weight=weights[y[few]])
    np.testing.assert_allclose(by_class.predict_proba(X), by_row.predict_proba(X), rtol=1e-6)


def test_no_hidden_layer_is_logistic_regression(net):
    net.set_params(hidden_layer_sizes=()).fit(X, y)
    np.testing.assert_allclose(
        net.decision_function(X), X @ net.coefs_[0][:, 0] + net.intercepts_[0], rtol=1e-5, atol=1e-6
    )


@slow_for_keras
def test_batch_larger_than_the_data_is_one_step(net):
    net.set_params(batch_size=10_000).fit(X, y)
    assert net.n_iter_ == 4


@pytest.mark.parametrize(
    "option, value",
    [
        ("epochs", 0),
        ("learning_rate", -1.0),
        ("learning_rate", 0),
        ("dropout", 1.0),
        ("dropout", -0.1),
        ("batch_size", 0),
        ("hidden_layer_sizes", (32, 0)),
        ("hidden_layer_sizes", (32, 1.5)),
        ("optimizer", "magic"),
        ("activation", "step"),
        ("ensemble", 0),
        ("l2", -1),
        ("weight_decay", -1),
        ("dtype", "float16"),
        ("rng", "dice"),
        ("patience", 0),
        ("validation_fraction", 1.0),
        ("label_smoothing", 1.0),
        ("average_last", 1.5),
        ("initializer", "ones"),
        ("class_weight", "even"),
    ],
)
def test_bad_options_are_named(option, value):
    for backend in BACKENDS:
        with pytest.raises(ValueError, match=option):
            backend(**{option: value}).fit(X, y)


def test_averaging_and_early_stopping_exclude_each_other():
    with pytest.raises(ValueError, match="average_last"):
        NumpyMLPClassifier(early_stopping=True, average_last=0.5).fit(X, y)


@pytest.mark.parametrize(
    "target, words",
    [(np.zeros(150, int), "one class"), (X[:, 0], "Unknown label type")],
)
def test_bad_targets_are_refused(target, words):
    for backend in BACKENDS:
        with pytest.raises(ValueError, match=words):
            backend().fit(X, target)


def test_divergence_names_learning_rate_and_step(net):
    with pytest.raises(DivergenceError, match="step .* learning_rate=1e.20"):
        net.set_params(optimizer="sgd", learning_rate=1e20, activation="identity").fit(X, y)


def test_average_last_is_the_mean_of_the_epoch_ends():
    options = dict(random_state=0, dtype="float64", dropout=0.0)
    ends = [NumpyMLPClassifier(epochs=epochs, **options).fit(X, y).coefs_[1] for epochs in (3, 4)]
    mean = NumpyMLPClassifier(epochs=4, average_last=0.5, **options).fit(X, y).coefs_[1]
    np.testing.assert_allclose(mean, np.mean(ends, axis=0), atol=1e-15)


def test_weight_decay_is_decoupled_for_every_optimiser():
    for optimizer in ("sgd", "momentum", "nesterov", "rmsprop", "adam", "adamw"):
        plain, decayed = (
            TextbookMLP([6, 4, 1], optimizer=optimizer, learning_rate=0.1, weight_decay=d, dtype="float64")
            for d in (0.0, 0.5)
        )
        start = plain.theta.copy()
        for net in (plain, decayed):
            net.step(X, y[:, None])
        np.testing.assert_allclose(plain.theta - decayed.theta, 0.1 * 0.5 * start, atol=1e-15)


def test_grid_search_pipeline_and_calibration_work():
    pipe = make_pipeline(StandardScaler(), NumpyMLPClassifier(epochs=3, random_state=0))
    grid = GridSearchCV(pipe, {"numpymlpclassifier__dropout": [0.0, 0.3]}, cv=2, n_jobs=2).fit(X, LABELS)
    assert set(grid.predict(X)) <= {"healthy", "ill"}
    assert CalibratedClassifierCV(pipe, cv=2).fit(X, y).predict_proba(X).shape == (150, 2)
    assert cross_val_predict(pipe, X, y, cv=3, method="decision_function").shape == (150,)


def test_sample_weight_is_routed():
    import sklearn

    with sklearn.config_context(enable_metadata_routing=True):
        net = NumpyMLPClassifier(epochs=2, random_state=0).set_fit_request(sample_weight=True)
        seen = cross_val_predict(
            net, X, y, cv=2, params={"sample_weight": np.arange(150.0)}, method="predict_proba"
        )
    plain = cross_val_predict(
        NumpyMLPClassifier(epochs=2, random_state=0), X, y, cv=2, method="predict_proba"
    )
    assert not np.allclose(seen, plain)


def test_numpy_trains_without_tensorflow_and_keras_names_the_extra_that_is_missing():
    code = (
        "import sys, mlp_bench.keras_mlp, numpy as np\nfrom mlp_bench.estimators import NumpyMLPClassifier\n"
        "NumpyMLPClassifier(epochs=1, rng='keras').fit(np.eye(8), [0, 1] * 4)\n"
        "assert not {'tensorflow', 'keras', 'matplotlib'} & set(sys.modules)\n"
        "sys.modules['tensorflow'] = None\nfrom mlp_bench.keras_mlp import KerasMLPClassifier\n"
        "try: KerasMLPClassifier().fit([[0.], [1.]] * 4, [0, 1] * 4)\nexcept ImportError as e: print(e)"
    )
    out = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout
    assert "mlp_bench[keras]" in out and len(out.splitlines()) == 1


def test_keras_leaves_the_float_type_as_it_was():
    import keras

    KerasMLPClassifier(epochs=1, dtype="float64").fit(X, y)
    assert keras.config.floatx() == "float32" and keras.config.dtype_policy().name == "float32"


def test_philox_numbers_are_tensorflows():
    import tensorflow as tf

    for dtype in ("float32", "float64"):
        for seed in [(0, 0), (11, 3), (2**31 - 3, 2**20)]:
            assert np.array_equal(
                tensorflow_uniform(seed, 333, dtype),
                tf.random.stateless_uniform([333], seed, dtype=dtype).numpy(),
            )
