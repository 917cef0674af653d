"""Classes, amounts and counts: what holds for one head of the network holds for all of them."""

import pickle

import numpy as np
import pandas as pd
import pytest
from scipy.sparse import csc_array, csc_matrix, csr_array, csr_matrix, random_array
from scipy.special import logsumexp, softmax as softmax_of_scipy
from sklearn.base import clone
from sklearn.calibration import CalibratedClassifierCV
from sklearn.datasets import make_classification
from sklearn.metrics import log_loss, mean_poisson_deviance
from sklearn.model_selection import GridSearchCV, cross_val_predict, train_test_split
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils.class_weight import compute_sample_weight
from sklearn.utils.estimator_checks import check_estimator

from mlp_bench import estimators
from mlp_bench.estimators import NumpyMLPClassifier, NumpyMLPRegressor, fit_fleet, member_seeds
from mlp_bench.fleet import MOST_DENSE, Chunk, Fleet
from mlp_bench.numpy_mlp import (
    HEADS,
    OPTIMIZERS,
    DivergenceError,
    TextbookMLP,
    objective,
    smooth,
    softmax,
    train,
)

K, N = 4, 130
X, CODES = make_classification(N, 7, n_informative=5, n_classes=K, random_state=1)
X = StandardScaler().fit_transform(X)
AMOUNTS = 40 + 3 * X[:, 0] - X[:, 1] * X[:, 2]
COUNTS = np.random.default_rng(0).poisson(np.exp(1 + X[:, 0]))
WEIGHTS = np.random.default_rng(2).random(N) + 0.5

TARGETS = {  # of each head, as the network sees them
    "logistic": CODES[:, None] > 1,
    "softmax": np.eye(K)[CODES],
    "identity": (AMOUNTS[:, None] - 40) / 3,
    "poisson": COUNTS[:, None],
}
TASKS = {  # an estimator of each head, and what it is fitted to
    "logistic": (NumpyMLPClassifier(), CODES > 1),
    "softmax": (NumpyMLPClassifier(), np.array(list("abcd"))[CODES]),
    "identity": (NumpyMLPRegressor(), AMOUNTS),
    "poisson": (NumpyMLPRegressor(loss="poisson"), COUNTS),
}
BRIEF = dict(hidden_layer_sizes=(9, 5), epochs=4, random_state=0)
heads = pytest.mark.parametrize("head", HEADS)
tasks = pytest.mark.parametrize("task", TASKS)


def made(task, **settings):
    net, y = TASKS[task]
    return clone(net).set_params(**BRIEF | settings), y


def answers(net, rows=X):
    return net.predict_proba(rows) if hasattr(net, "predict_proba") else net.predict(rows)


def everything(net):
    return [array for W, b in net.members_ for array in (*W, *b)] + [np.array(net.loss_curve_)]


def assert_same_bits(a, b):
    for ours, theirs in zip(everything(a), everything(b), strict=True):
        np.testing.assert_array_equal(ours, theirs)


# ---- the fleet and the textbook


def rows(head, member=0, n=120, dtype="float64"):
    order = np.random.default_rng(member).permutation(N)[:n]
    return tuple(a[order].astype(dtype) for a in (X, TARGETS[head], WEIGHTS[:, None]))


def three(head, hidden=(8, 5), dtype="float64", **shared):
    sizes = [7, *hidden, TARGETS[head].shape[1]]
    of_each = [
        dict(learning_rate=1e-3),
        dict(learning_rate=3e-3, dropout=0.2, weight_decay=0.1, l2=1e-2),
        dict(learning_rate=2e-3, dropout=0.4),
    ]
    return [
        TextbookMLP(sizes, dtype=dtype, seed=k, head=head, **settings | shared)
        for k, settings in enumerate(of_each)
    ]


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
@heads
def test_every_head_and_optimiser_gives_the_textbooks_weights(head, optimizer):
    by_hand, members = three(head, optimizer=optimizer), three(head, optimizer=optimizer)
    tables = [rows(head, k) for k in range(3)]
    curves = [train(net, *table, epochs=6)[0] for net, table in zip(by_hand, tables)]
    for curve, (other, _) in zip(curves, Fleet(members).train(tables, 6)):
        np.testing.assert_allclose(curve, other, rtol=1e-9)
    for a, b in zip(by_hand, members):
        np.testing.assert_allclose(a.theta, b.theta, rtol=0, atol=1e-12)


@pytest.mark.parametrize("last", [dict(average_last=0.5), dict(epochs=40, patience=2)], ids=lambda d: [*d][0])
@heads
def test_averaging_and_early_stopping_of_every_head_are_the_textbooks(head, last):
    check, stops = rows(head, 9), "patience" in last
    by_hand, members = three(head, learning_rate=0.02), three(head, learning_rate=0.02)
    tables, settings = [rows(head, k) for k in range(3)], dict(epochs=6) | last
    alone = [train(n, *t, **settings, validation=check if stops else None) for n, t in zip(by_hand, tables)]
    together = Fleet(members).train(tables, **settings, validation=[check] * 3 if stops else None)
    assert [len(curve) for curve, _ in alone] == [len(curve) for curve, _ in together]
    for (_, ours), (_, theirs) in zip(alone, together):
        np.testing.assert_allclose(ours, theirs, rtol=1e-9)
    for a, b in zip(by_hand, members):
        np.testing.assert_allclose(a.theta, b.theta, rtol=0, atol=1e-12)


@pytest.mark.parametrize("hidden", [(), (1,), (8, 5)], ids=str)
@pytest.mark.parametrize("batch_size", [1, 7, 32, 119])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@heads
def test_a_member_of_any_head_has_the_same_bits_as_alone(head, dtype, batch_size, hidden):
    alone, together = three(head, hidden, dtype), three(head, hidden, dtype)
    tables = [rows(head, k, dtype=dtype) for k in range(3)]
    for net, table in zip(alone, tables):
        Fleet([net], batch_size).train([table], 2)
    Fleet(together, batch_size).train(tables, 2)
    for a, b in zip(alone, together):
        np.testing.assert_array_equal(a.theta, b.theta)


@heads
def test_a_gradient_is_what_finite_differences_say(head):
    net = three(head, activation="tanh", dropout=0.0, l2=1e-2, label_smoothing=0.1)[0]
    X, y, w = rows(head)
    net.gradient(X, y, w)
    slope, start, step = net.grad.copy(), net.theta.copy(), 1e-6
    for i in np.random.default_rng(0).choice(len(start), 25, replace=False):
        ends = []
        for shift in (step, -step):
            net.theta[:] = start
            net.theta[i] += shift
            ends.append(net.loss(X, y, w))
        np.testing.assert_allclose((ends[0] - ends[1]) / (2 * step), slope[i], rtol=1e-6, atol=1e-8)


# ---- formulas


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_softmax_never_overflows_and_is_scipys(dtype):
    top = np.finfo(dtype).max / 4
    z = np.array([[0, 1, 2], [800, 0, -800], [top, 0, -top], [-top, -top, -top], [top, top, top]], dtype)
    with np.errstate(over="raise", invalid="raise", divide="raise"):
        p = softmax(z)
    np.testing.assert_allclose(p.sum(axis=-1), 1, rtol=1e-6)
    np.testing.assert_allclose(p, softmax_of_scipy(z, axis=-1), rtol=1e-6)
    assert p.dtype == dtype


def test_a_fleet_of_classes_learns_from_outputs_beyond_what_exp_can_take():
    far = X * 1e30
    net = NumpyMLPClassifier(dropout=0.0, epochs=2, random_state=0).fit(far, CODES)
    assert np.isfinite(net.loss_curve_).all() and np.isfinite(net.predict_proba(far)).all()


def test_smoothing_and_class_weights_of_many_classes_follow_keras_formula():
    "By hand: targets y (1 - s) + s / K, cross-entropy, times the weight of the class, over the rows"
    z, s, weights = np.random.default_rng(3).normal(size=(N, K)) * 3, 0.2, np.array([1.0, 2.0, 0.5, 3.0])
    y, w = np.eye(K)[CODES], weights[CODES]
    targets = np.full((N, K), s / K)
    targets[np.arange(N), CODES] += 1 - s
    np.testing.assert_allclose(smooth(y, s), targets, rtol=1e-15)
    log_p = z - logsumexp(z, axis=1)[:, None]
    expected = -(w[:, None] * targets * log_p).sum() / N
    np.testing.assert_allclose(objective(z, y, w[:, None], [], s, 0.0, "softmax"), expected, rtol=1e-13)
    unsmoothed = log_loss(CODES, np.exp(log_p), sample_weight=w) * w.mean()
    np.testing.assert_allclose(objective(z, y, w[:, None], [], 0.0, 0.0, "softmax"), unsmoothed, rtol=1e-13)


def test_two_classes_by_two_outputs_have_the_loss_of_one_output():
    z = np.random.default_rng(4).normal(size=(N, 1)) * 5
    y = CODES[:, None] % 2
    two = HEADS["softmax"].loss(np.hstack([np.zeros_like(z), z]), np.hstack([1 - y, y]))
    np.testing.assert_allclose(two, HEADS["logistic"].loss(z, y), rtol=1e-12)


@pytest.mark.parametrize(
    "class_weight", ["balanced", dict(a=1, b=2, c=0.5, d=3)], ids=["balanced", "by label"]
)
def test_class_weights_of_many_classes_equal_scikit_learns_sample_weights(class_weight):
    net, y = made("softmax")
    few = np.flatnonzero((y != "a") | (np.arange(N) % 3 == 0))
    weights = compute_sample_weight(class_weight, y[few])
    by_class = clone(net).set_params(class_weight=class_weight).fit(X[few], y[few])
    by_row = net.fit(X[few], y[few], sample_weight=weights)
    np.testing.assert_allclose(by_class.predict_proba(X), by_row.predict_proba(X), rtol=1e-5)


def test_the_loss_of_a_poisson_network_is_half_the_deviance_up_to_a_constant():
    net, y = made("poisson", dropout=0.0, optimizer="sgd", learning_rate=1e-12, epochs=1, dtype="float64")
    p, scale = net.fit(X, y).predict(X), y.mean()
    by_hand = np.mean(p / scale - y / scale * np.log(p / scale))
    np.testing.assert_allclose(net.loss_curve_[-1], by_hand, rtol=1e-6)
    flat = np.full(N, scale)
    constant = np.mean(1 - y / scale * np.log(flat / scale))
    half = (mean_poisson_deviance(y, p) - mean_poisson_deviance(y, flat)) / (2 * scale)
    np.testing.assert_allclose(by_hand - constant, half, rtol=1e-9)


# ---- training, by task


@tasks
def test_rows_for_early_stopping_are_the_same_given_or_set_aside(task):
    net, y = made(task, early_stopping=True, validation_fraction=0.25, patience=2, epochs=30, ensemble=2)
    net.set_params(learning_rate=0.02)
    seed, strata = member_seeds(0, 2)[0], None if task in ("identity", "poisson") else y
    train_X, X_val, train_y, y_val = train_test_split(
        X, y, test_size=0.25, stratify=strata, random_state=seed
    )
    given = clone(net).fit(train_X, train_y, X_val=X_val, y_val=y_val)
    assert given.n_iter_ < 30
    assert len(given.validation_loss_curve_) == given.n_iter_
    if strata is None:  # of rows that are set aside, the scale of the target is learnt, too
        best = np.argmin(given.validation_loss_curve_)
        assert given.n_iter_ == best + 3
    else:
        assert_same_bits(given, net.fit(X, y))
        assert given.validation_loss_curve_ == net.validation_loss_curve_


@tasks
def test_an_ensemble_averages_what_its_members_answer(task):
    net, y = made(task, ensemble=3)
    net.fit(X, y)
    singles = []
    for member in net.members_:
        one = clone(net).fit(X, y)
        one.members_ = [member]
        singles.append(answers(one))
    np.testing.assert_allclose(answers(net), np.mean(singles, axis=0), rtol=1e-9, atol=1e-12)
    assert np.ptp(singles, axis=0).max() > 0
    np.testing.assert_array_equal(made(task)[0].fit(X, y).coefs_[0], net.coefs_[0])


@tasks
def test_averaged_weights_are_the_mean_of_the_epoch_ends(task):
    exact = dict(dtype="float64", dropout=0.0)
    ends = [made(task, epochs=n, **exact)[0].fit(X, TASKS[task][1]).coefs_[1] for n in (3, 4)]
    mean = made(task, average_last=0.5, **exact)[0].fit(X, TASKS[task][1]).coefs_[1]
    np.testing.assert_allclose(mean, np.mean(ends, axis=0), rtol=0, atol=1e-15)


@tasks
def test_rows_that_weigh_nothing_have_no_influence(task):
    net, y = made(task)
    w, other = np.r_[np.ones(N - 30), np.zeros(30)], y.copy()
    other[-30:] = y[-60:-30][::-1]
    assert not np.array_equal(y, other)
    a, b = (clone(net).fit(X, target, sample_weight=w) for target in (y, other))
    np.testing.assert_array_equal(answers(a), answers(b))
    assert not np.array_equal(answers(a), answers(net.fit(X, y)))


@tasks
def test_events_tell_every_epoch_and_true_stops_the_network_of_any_head(task):
    net, y = made(task, ensemble=2, epochs=5)
    whole, events = clone(net).fit(X, y), []
    followed = clone(net).fit(X, y, on_epoch=events.append)
    assert_same_bits(whole, followed)
    told = sorted((e.member, e.epoch) for e in events)
    assert told == [(member, epoch) for member in range(2) for epoch in range(5)]
    assert [e.loss for e in events if e.member == 0] == whole.loss_curve_
    brief = clone(net).fit(X, y, on_epoch=lambda event: event.epoch == 1)
    assert_same_bits(brief, clone(net).set_params(epochs=2).fit(X, y))


@tasks
def test_callbacks_of_scikit_learn_see_the_network_so_far(task):
    callback, scores = pytest.importorskip("sklearn.callback"), "neg_log_loss"
    net, y = made(task)
    if task in ("identity", "poisson"):
        scores = "neg_root_mean_squared_error"
    monitor = callback.ScoringMonitor(scoring=scores)
    followed = clone(net).set_callbacks(monitor).fit(X, y)
    assert_same_bits(followed, net.fit(X, y))
    logs = monitor.get_logs().data_as_pandas[scores].dropna()
    assert len(logs) >= 4
    pipe = make_pipeline(StandardScaler(), clone(net)).set_callbacks(callback.ProgressBar()).fit(X, y)
    assert np.isfinite(answers(pipe)).all()


# ---- going on


@pytest.mark.parametrize("rng", ["fast", "keras"])
@pytest.mark.parametrize("dropout", [0.0, 0.3])
@pytest.mark.parametrize("optimizer", OPTIMIZERS)
@tasks
def test_passes_of_partial_fit_are_one_fit_bit_for_bit(task, optimizer, dropout, rng):
    if rng == "keras" and not (dropout and optimizer == "adam"):
        pytest.skip("that generator is for dropout")
    net, y = made(task, optimizer=optimizer, dropout=dropout, rng=rng, ensemble=2, weight_decay=0.01, l2=1e-3)
    whole, passes = clone(net).fit(X, y, WEIGHTS), net
    for _ in range(4):
        passes = pickle.loads(pickle.dumps(passes.partial_fit(X, y, sample_weight=WEIGHTS)))
    assert_same_bits(whole, passes)
    assert passes.n_iter_ == 4
    np.testing.assert_array_equal(answers(passes), answers(whole))


@pytest.mark.parametrize(
    "settings", [dict(average_last=0.5), dict(early_stopping=True), dict(class_weight="balanced")], ids=str
)
@tasks
def test_what_needs_all_rows_or_epochs_is_refused_by_partial_fit(task, settings):
    if "class_weight" in settings and task in ("identity", "poisson"):
        pytest.skip("there are no classes")
    net, y = made(task, **settings)
    with pytest.raises(ValueError, match=f"{[*settings][0]}.*: use fit."):
        net.partial_fit(X, y)


def test_classes_may_come_later_if_they_were_named_first():
    net, y = made("softmax")
    first = np.isin(y, ["b", "c"])
    net.partial_fit(X[first], y[first], classes=list("dcba"))
    assert list(net.classes_) == list("abcd") and answers(net).shape == (N, K)
    assert net.partial_fit(X, y).partial_fit(X, y, classes=list("abcd")).n_iter_ == 3
    with pytest.raises(ValueError, match="y holds e, which is none of the classes a, b, c, d"):
        net.partial_fit(X, np.where(y == "a", "e", y))
    with pytest.raises(ValueError, match="cannot be changed to a, b: leave them out"):
        net.partial_fit(X, y, classes=["a", "b"])


def test_classes_of_a_pass_that_was_refused_are_forgotten():
    net, y = made("softmax", class_weight="balanced")
    with pytest.raises(ValueError, match="use fit"):
        net.partial_fit(X, y, classes=list("abcdef"))
    assert list(net.fit(X, y).classes_) == list("abcd")


@tasks
def test_a_changed_setting_counts_from_the_next_pass_on(task):
    net, y = made(task)
    slow, fast = (clone(net).partial_fit(X, y) for _ in range(2))
    assert not np.array_equal(
        slow.partial_fit(X, y).coefs_[0], fast.set_params(learning_rate=0.1).partial_fit(X, y).coefs_[0]
    )


@tasks
def test_after_a_pass_that_diverged_the_next_one_starts_from_the_last_good_weights(task):
    net, y = made(task, optimizer="sgd", activation="identity", dropout=0.0)
    before = everything(net.partial_fit(X, y))
    with pytest.raises(DivergenceError):
        net.partial_fit(X * 1e30, y)
    for ours, theirs in zip(everything(net), before):
        np.testing.assert_array_equal(ours, theirs)
    assert np.isfinite(answers(net.partial_fit(X, y))).all()


@tasks
def test_fit_after_partial_fit_is_a_fresh_fit_and_partial_fit_goes_on_after_fit(task):
    net, y = made(task)
    fresh = clone(net).fit(X, y)
    assert_same_bits(clone(net).partial_fit(X, y).fit(X, y), fresh)
    assert clone(fresh).fit(X, y).partial_fit(X, y).n_iter_ == 5


@tasks
def test_warm_start_goes_on_from_the_last_weights_and_keeps_classes_and_scale(task):
    net, y = made(task, warm_start=True, optimizer="sgd", learning_rate=1e-9, dtype="float64")
    start = net.fit(X, y).coefs_[0]
    np.testing.assert_allclose(net.fit(X[:60], y[:60]).coefs_[0], start, rtol=0, atol=1e-6)
    for change in dict(hidden_layer_sizes=(3,)), dict(ensemble=2):
        with pytest.raises(ValueError, match="set warm_start=False, or fit a new estimator"):
            clone(net).fit(X, y).set_params(**change).fit(X, y)
    if task in ("logistic", "softmax"):
        with pytest.raises(ValueError, match="none of the classes"):
            net.fit(X, np.arange(N) % 2 + 7)
    else:
        scale = net.target_scale_
        assert net.fit(X, y * 5).target_scale_ == scale


def test_class_weights_count_in_every_warm_fit():
    net, y = made("softmax", warm_start=True)
    net.fit(X, y).set_params(class_weight=dict(a=500, b=1, c=1, d=1), epochs=60).fit(X, y)
    assert (net.predict(X) == "a").mean() > 0.9


# ---- rows of any kind


@pytest.mark.parametrize("sparse", [csr_matrix, csc_matrix, csr_array, csc_array])
@pytest.mark.parametrize("settings", [dict(), dict(early_stopping=True), dict(ensemble=2)], ids=str)
@tasks
def test_sparse_rows_are_the_same_rows(task, settings, sparse):
    net, y = made(task, **settings)
    holes = np.where(np.abs(X) > 0.5, X, 0)
    dense, same = clone(net).fit(holes, y), net.fit(sparse(holes), y)
    assert_same_bits(dense, same)
    np.testing.assert_allclose(answers(same, sparse(holes)), answers(dense, holes), rtol=1e-4)


def test_sparse_rows_of_many_columns_are_written_out_a_few_at_a_time():
    wide = random_array((1000, 20_000), density=1e-3, format="csr", rng=0)
    for members in 1, 4:
        nets = [TextbookMLP([20_000, 2, 1], seed=k) for k in range(members)]
        table = wide, np.ones((1000, 1)), np.ones((1000, 1))
        chunk = Chunk(nets, [table] * members, 8, 1)
        assert len(chunk.sizes) > 1 and chunk.X[..., :-1].size <= MOST_DENSE


@pytest.mark.parametrize("labels", [
    np.array(list("wxyz")), np.array([-1, 1, 0, 7]), np.array([2.0, 1.0, 5.0, 3.0]),
    np.array(["a", "ab", "abc", "abcd"], object), np.array([200, 3, 100, 7], "uint8"),
])  # fmt: skip
@pytest.mark.parametrize("k", [2, 4])
def test_labels_of_any_type_come_back(labels, k):
    labels = labels[:k]
    y = labels[CODES % k]
    net = NumpyMLPClassifier(**BRIEF).fit(X, y)
    np.testing.assert_array_equal(net.classes_, np.unique(labels))
    assert set(net.predict(X)) <= set(labels) and net.predict(X).dtype == y.dtype
    p, order = net.predict_proba(X), np.argsort(np.argsort(labels))  # code of each label
    assert_same_bits(net, NumpyMLPClassifier(**BRIEF).fit(X, order[CODES % k]))
    np.testing.assert_array_equal(net.predict(X), net.classes_[p.argmax(axis=1)])


def test_booleans_and_signs_are_two_classes():
    for y in CODES > 1, np.where(CODES > 1, 1, -1):
        net = NumpyMLPClassifier(**BRIEF).fit(X, y)
        assert set(net.predict(X)) <= set(y) and net.predict(X).dtype == y.dtype


@pytest.mark.filterwarnings("ignore:The number of unique classes")
def test_a_hundred_classes_and_as_many_classes_as_rows():
    rng = np.random.default_rng(0)
    centres = rng.normal(size=(100, 12)) * 4
    y = np.repeat(np.arange(100), 10)
    rows = centres[y] + rng.normal(size=(1000, 12))
    net = NumpyMLPClassifier((64,), dropout=0.0, epochs=40, learning_rate=5e-3, random_state=0).fit(rows, y)
    assert net.score(rows, y) > 0.95
    p = NumpyMLPClassifier(**BRIEF).fit(rows[::10], np.arange(100)).predict_proba(rows)
    np.testing.assert_allclose(p.sum(axis=1), 1, rtol=1e-12)
    assert p.shape == (1000, 100)


@pytest.mark.parametrize("scale", [1e-9, 1e9, -1e9])
@pytest.mark.parametrize("shift", [0, 1e3])
def test_a_target_on_any_scale_is_the_same_standardised_fit(scale, shift):
    net = NumpyMLPRegressor(dtype="float64", **BRIEF)
    y = (AMOUNTS - AMOUNTS.mean()) * (1 if scale > 0 else -1)  # a sign would be another training
    plain = clone(net).fit(X, y)
    scaled = clone(net).fit(X, (y + shift) * abs(scale))
    np.testing.assert_allclose(scaled.loss_curve_, plain.loss_curve_, rtol=1e-6)
    np.testing.assert_allclose(scaled.predict(X) / abs(scale) - shift, plain.predict(X), rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("value", [0.0, 7.0, 1e-9, -1e9, 0.1])
def test_a_constant_target_is_learnt(value):
    net = NumpyMLPRegressor(dropout=0.0, epochs=60, learning_rate=1e-2, random_state=0)
    p = net.fit(X, np.full(N, value)).predict(X)
    assert net.target_scale_ == 1 and np.isfinite(p).all() and np.abs(p - value).max() < 1


def test_an_amount_is_a_number_whatever_holds_it():
    net = NumpyMLPRegressor(**BRIEF)
    whole = np.round(AMOUNTS)
    for y in whole.astype("int8"), whole.astype("float16"), whole.astype(object), list(whole):
        assert_same_bits(clone(net).fit(X, y), clone(net).fit(X, whole))
    with pytest.raises(ValueError, match="could not convert"):
        net.fit(X, np.array(["low", "high"])[CODES % 2])


def test_counts_are_predicted_above_zero_and_negative_ones_refused_at_any_time():
    net, y = made("poisson", epochs=60)
    assert (net.fit(X, y).predict(X) > 0).all()
    flat = mean_poisson_deviance(y, np.full(N, y.mean()))
    assert mean_poisson_deviance(y, net.predict(X)) < 0.8 * flat
    with pytest.raises(ValueError, match="is for counts"):
        net.partial_fit(X, y - 1)
    net.set_params(early_stopping=True)
    with pytest.raises(ValueError, match="is for counts"):
        net.fit(X, y, X_val=X, y_val=y - 1)
    with pytest.raises(ValueError, match="is for counts"):
        clone(net).fit(X, y * 0)


@pytest.mark.parametrize("net", [NumpyMLPClassifier(), NumpyMLPRegressor()], ids=["classes", "amounts"])
def test_several_targets_or_labels_are_refused_with_what_to_do(net):
    for several in np.eye(3)[np.arange(N) % 3], np.ones((N, 2)):
        with pytest.raises(ValueError, match="several targets or labels at once.*sklearn.multioutput"):
            clone(net).fit(X, several)


@tasks
def test_rows_for_early_stopping_come_whole_and_fit_or_are_refused(task):
    net, y = made(task, early_stopping=True)
    for given, words in [
        (dict(X_val=X), "y"),
        (dict(y_val=y), "without X_val"),
        (dict(X_val=X[:, :3], y_val=y), "3 features"),
    ]:
        with pytest.raises(ValueError, match=words):
            clone(net).fit(X, y, **given)
    with pytest.raises(ValueError, match="set early_stopping=True"):
        clone(net).set_params(early_stopping=False).fit(X, y, X_val=X, y_val=y)
    if task in ("logistic", "softmax"):
        with pytest.raises(ValueError, match="y holds 9, which is none of the classes"):
            net.fit(X, CODES, X_val=X, y_val=np.full(N, 9))


@tasks
def test_names_of_columns_are_kept_through_passes_and_others_refused(task):
    net, y = made(task)
    table = pd.DataFrame(X).rename(columns="c{}".format)
    net.partial_fit(table, y).partial_fit(table, y)
    assert list(net.feature_names_in_) == list(table)
    with pytest.raises(ValueError, match="same order"):
        net.partial_fit(table[table.columns[::-1]], y)


@pytest.mark.parametrize("value", [np.nan, np.inf])
@tasks
def test_a_target_without_a_value_is_refused(task, value):
    net, y = made(task)
    if task == "softmax":
        y = CODES
    with pytest.raises(ValueError, match="NaN|infinity"):
        net.fit(X, np.where(np.arange(N) == 3, value, y))


# ---- scikit-learn


@pytest.mark.parametrize("net", [NumpyMLPClassifier, NumpyMLPRegressor])
def test_all_heads_pass_scikit_learns_checks(net):
    why = "mini-batches, dropout and the division by the number of rows treat a repeated row differently"
    expected = {f"check_sample_weight_equivalence_on_{kind}_data": why for kind in ("dense", "sparse")}
    results = check_estimator(net(), on_fail=None, on_skip=None, expected_failed_checks=expected)
    assert {r["check_name"]: r["exception"] for r in results if r["status"] == "failed"} == {}


@pytest.mark.parametrize("net", [NumpyMLPClassifier, NumpyMLPRegressor])
@pytest.mark.parametrize(
    "theirs, ours",
    [
        (dict(max_iter=9), "max_iter is called epochs here."),
        (dict(alpha=1e-4), r"alpha is called l2 \(on another scale\) here."),
        (dict(solver="adam"), "solver is called optimizer here."),
        (dict(learning_rate_init=0.1), "learning_rate_init is called learning_rate here."),
        (dict(activation="logistic"), "activation 'logistic' is called 'sigmoid' here."),
    ],
    ids=lambda v: next(iter(v)) if isinstance(v, dict) else "",
)
def test_each_name_of_scikit_learns_networks_has_a_sentence(net, theirs, ours):
    with pytest.raises((TypeError, ValueError), match=f"{ours}$"):
        net(**theirs).fit(X, CODES)


@tasks
def test_copies_with_the_same_parameters_are_the_same_estimator(task):
    net, y = made(task, dropout=0.4, ensemble=2)
    assert clone(net).get_params() == net.get_params()
    assert_same_bits(clone(net).fit(X, y), type(net)().set_params(**net.get_params()).fit(X, y))


@tasks
def test_searches_and_cross_validation_take_any_head(task):
    net, y = made(task)
    pipe, last = make_pipeline(StandardScaler(), net), type(net).__name__.lower()
    search = GridSearchCV(pipe, {f"{last}__dropout": [0.0, 0.3]}, cv=3).fit(X, y)
    assert np.isfinite(search.best_score_)
    if task in ("identity", "poisson"):
        assert np.isfinite(cross_val_predict(pipe, X, y, cv=3)).all()
        return
    k = len(np.unique(y))
    assert cross_val_predict(pipe, X, y, cv=3, method="predict_proba").shape == (N, k)
    assert CalibratedClassifierCV(pipe, cv=2).fit(X, y).predict_proba(X).shape == (N, k)


# ---- many at once


def mixed():
    return [made(task, random_state=k)[0] for k in range(2) for task in TASKS], [
        (X, y) for _ in range(2) for _, y in TASKS.values()
    ]


@pytest.mark.parametrize("n_jobs", [1, 2])
def test_classifiers_and_regressors_are_fitted_together_as_alone(n_jobs, monkeypatch):
    monkeypatch.setattr(estimators, "MIN_PARALLEL_WORK", 0)
    together = fit_fleet(*mixed(), n_jobs=n_jobs)
    for net, alone, (_, y) in zip(together, *mixed()):
        assert_same_bits(net, alone.fit(X, y))
        np.testing.assert_array_equal(answers(net), answers(alone))


def test_events_of_classifiers_and_regressors_name_their_estimator():
    events = []
    fit_fleet(*mixed(), on_epoch=events.append)
    assert sorted((e.fold, e.epoch) for e in events) == [
        (fold, epoch) for fold in range(8) for epoch in range(4)
    ]
