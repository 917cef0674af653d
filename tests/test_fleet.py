"""A fleet trains many networks at once, and each as if it were alone."""

import os
import signal
import subprocess
import sys
import threading
import time
from concurrent.futures.process import BrokenProcessPool

import numpy as np
import pytest
from joblib import Parallel, delayed
from sklearn.datasets import make_classification

from mlp_bench import estimators
from mlp_bench.estimators import NumpyMLPClassifier, NumpyMLPRegressor, fit_fleet
from mlp_bench.numpy_mlp import ACTIVATIONS, OPTIMIZERS, DivergenceError, TextbookMLP, FastMasks, train
from mlp_bench.fleet import Fleet, blocks_of

X, y = make_classification(150, 7, n_informative=4, flip_y=0.1, random_state=3)
WEIGHTS = np.random.default_rng(0).random(150) + 0.5
OF_EACH = [
    dict(learning_rate=1e-3, dropout=0.0),
    dict(learning_rate=3e-3, dropout=0.2, weight_decay=0.1, l2=1e-2),
    dict(learning_rate=1e-2, dropout=0.5, l2=1e-3, label_smoothing=0.2),
]


def rows(dtype, member=0):
    order = np.random.default_rng(member).permutation(150)[:140]
    return tuple(a[order].astype(dtype) for a in (X, y[:, None], WEIGHTS[:, None]))


def nets(dtype="float64", hidden=(12, 5), **shared):
    sizes = [7, *hidden, 1]
    settings = [options | shared for options in OF_EACH]
    return [TextbookMLP(sizes, dtype=dtype, seed=k, **options) for k, options in enumerate(settings)]


def gap(epochs=8, batch_size=32, dtype="float64", **options):
    by_hand, members = nets(dtype, **options), nets(dtype, **options)
    tables = [rows(dtype, k) for k in range(3)]
    curves = [train(net, *table, epochs, batch_size)[0] for net, table in zip(by_hand, tables)]
    for curve, (other, _) in zip(curves, Fleet(members, batch_size).train(tables, epochs)):
        np.testing.assert_allclose(curve, other, rtol=1e-5)
    return max(np.abs(a.theta - b.theta).max() for a, b in zip(by_hand, members))


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_every_optimiser_gives_the_textbooks_weights(optimizer):
    assert gap(optimizer=optimizer) <= 1e-12


@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_every_activation_gives_the_textbooks_weights(activation):
    assert gap(activation=activation) <= 1e-12


@pytest.mark.parametrize("batch_size", [1, 7, 140, 1000])
def test_every_batch_size_gives_the_textbooks_weights(batch_size):
    assert gap(epochs=3, batch_size=batch_size) <= 1e-12


@pytest.mark.parametrize("hidden", [(), (9,), (5, 6, 7, 8)])
def test_every_depth_gives_the_textbooks_weights(hidden):
    assert gap(hidden=hidden) <= 1e-12


def test_keras_dropout_gives_the_textbooks_weights():
    assert gap(rng="keras", epochs=3) <= 1e-12


def test_single_precision_follows_the_textbook_for_a_while():
    assert gap(dtype="float32", epochs=20) <= 1e-5


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_a_member_has_the_same_bits_as_alone(dtype):
    alone, together, tables = nets(dtype), nets(dtype), [rows(dtype, k) for k in range(3)]
    for net, table in zip(alone, tables):
        Fleet([net]).train([table], 20)
    Fleet(together).train(tables, 20)
    for a, b in zip(alone, together):
        assert np.array_equal(a.theta, b.theta)


def test_tables_longer_than_a_chunk_give_the_textbooks_weights():
    Xl, yl = make_classification(5000, 7, random_state=0)
    table = Xl, yl[:, None].astype(float), np.ones((5000, 1))
    by_hand, member = (TextbookMLP([7, 8, 1], dropout=0.2, dtype="float64", seed=4) for _ in range(2))
    train(by_hand, *table, epochs=2)
    Fleet([member]).train([table], 2)
    np.testing.assert_allclose(by_hand.theta, member.theta, atol=1e-12)


def test_averaging_gives_the_textbooks_weights():
    by_hand, members, tables = nets(), nets(), [rows("float64", k) for k in range(3)]
    for net, table in zip(by_hand, tables):
        train(net, *table, epochs=6, average_last=0.5)
    Fleet(members).train(tables, 6, average_last=0.5)
    for a, b in zip(by_hand, members):
        np.testing.assert_allclose(a.theta, b.theta, atol=1e-12)


def test_each_member_stops_early_at_its_own_best_epoch():
    by_hand, members = nets(), nets()
    tables, check = [rows("float64", k) for k in range(3)], rows("float64", 9)
    stopping = dict(epochs=60, patience=3)
    alone = [train(net, *table, validation=check, **stopping) for net, table in zip(by_hand, tables)]
    together = Fleet(members).train(tables, validation=[check] * 3, **stopping)
    assert len({len(curve) for curve, _ in alone}) > 1  # they stop at different times
    for (curve, checks), (other, others) in zip(alone, together):
        np.testing.assert_allclose(curve, other, rtol=1e-9)
        np.testing.assert_allclose(checks, others, rtol=1e-9)
    for a, b in zip(by_hand, members):
        np.testing.assert_allclose(a.theta, b.theta, atol=1e-12)


def untamed(learning_rate):
    return TextbookMLP([7, 4, 1], activation="identity", optimizer="sgd", learning_rate=learning_rate, seed=0)


def test_divergence_of_one_member_names_its_learning_rate_and_step():
    wild = [untamed(lr) for lr in (1e-3, 1e25)]
    with pytest.raises(DivergenceError, match=r"step [1-9] with learning_rate=1e\+25"):
        Fleet(wild).train([rows("float32")] * 2, 5)


def test_divergence_is_named_at_the_textbooks_step():
    with pytest.raises(DivergenceError) as by_hand:
        train(untamed(1e12), *rows("float32"), epochs=5)
    with pytest.raises(DivergenceError) as in_fleet:
        Fleet([untamed(1e12)]).train([rows("float32")], 5)
    steps = [str(error.value).partition("at step")[2] for error in (by_hand, in_fleet)]
    assert steps[0] == steps[1]


def test_a_member_that_stopped_cannot_diverge_any_more(monkeypatch):
    members, check = nets(learning_rate=1e-3), rows("float64", 9)
    fleet = Fleet(members)
    losses = fleet.losses

    def spoiled(size):  # after its third epoch the first member's loss is no number
        values = losses(size)
        if fleet.steps >= 3 * 5:
            values[0] = np.nan
        return values

    monkeypatch.setattr(fleet, "losses", spoiled)
    monkeypatch.setattr(members[0], "loss", lambda *a: float(fleet.steps))  # never below the first epoch's
    curves = fleet.train([rows("float64", k) for k in range(3)], 8, validation=[check] * 3, patience=2)
    assert len(curves[0][0]) == 3 and len(curves[1][0]) == 8


@pytest.mark.parametrize("rate", [0.001, 0.05, 0.2, 0.5, 0.9])
def test_units_are_dropped_at_the_rate_asked_for(rate):
    active = FastMasks(7, rate, [32, 16], "float32")(32, 1024)
    assert abs((~active).mean() - rate) < 4 * np.sqrt(rate * (1 - rate) / active.size)


def test_dropout_does_not_depend_on_how_many_steps_are_drawn_at_once():
    one, many = (FastMasks(1, 0.2, [5, 3], "float32") for _ in range(2))
    singly = np.concatenate([one(13) for _ in range(1500)])
    assert np.array_equal(singly, np.concatenate([many(13, 700), many(13, 800)]))


def five_estimators(**options):
    rates = enumerate([1e-3, 2e-3, 3e-3, 4e-3, 5e-3])
    return [NumpyMLPClassifier(epochs=5, random_state=k, learning_rate=lr, **options) for k, lr in rates]


def tables():
    return [(X[:n], y[:n]) for n in (120, 100, 120, 100, 150)]


def same(many, few):
    def arrays(nets):
        return [a for net in nets for a in [*net.coefs_, net.loss_curve_]]

    return all(map(np.array_equal, arrays(many), arrays(few)))


@pytest.mark.parametrize(
    "options",
    [
        dict(),
        dict(ensemble=3),
        dict(early_stopping=True, patience=2),
        dict(average_last=0.5),
        dict(class_weight="balanced"),
    ],
    ids=lambda options: next(iter(options), "plain"),
)
def test_fitting_together_equals_fitting_one_by_one(options):
    together = fit_fleet(five_estimators(**options), tables())
    alone = [net.fit(*table) for net, table in zip(five_estimators(**options), tables())]
    assert same(together, alone)
    for a, b in zip(together, alone):
        np.testing.assert_allclose(a.loss_curve_, b.loss_curve_, rtol=1e-6)
        assert a.n_iter_ == b.n_iter_ and np.array_equal(a.predict_proba(X), b.predict_proba(X))


def test_sample_weights_reach_the_fleet():
    weighted = fit_fleet([NumpyMLPClassifier(epochs=3, random_state=0)], [(X, y, WEIGHTS)])
    assert same(weighted, [NumpyMLPClassifier(epochs=3, random_state=0).fit(X, y, WEIGHTS)])


def test_blocks_hold_only_networks_that_can_keep_step():
    mixed = [*five_estimators(), NumpyMLPClassifier(epochs=6), NumpyMLPClassifier((3,), epochs=5)]
    data = [*tables(), tables()[0], tables()[0]]
    trainings = [net._prepare(*table, fold=i)[0] for i, (net, table) in enumerate(zip(mixed, data))]

    def folds(size):
        return sorted([t.fold for t in block] for block in blocks_of(trainings, size))

    assert folds(32) == [[0, 2], [1, 3], [4], [5], [6]]
    assert folds(1) == [[0], [1], [2], [3], [4], [5], [6]]


def test_progress_rises_to_one():
    seen = []
    fit_fleet(five_estimators(), tables(), progress=seen.append)
    assert seen == sorted(seen) and seen[-1] == 1


def test_two_processes_give_the_same_bits(monkeypatch):
    monkeypatch.setattr(estimators, "MIN_PARALLEL_WORK", 0)
    there, here = (fit_fleet(five_estimators(ensemble=9), tables(), n_jobs=n) for n in (2, 1))
    assert same(there, here)


def test_an_error_in_one_block_ends_the_training(monkeypatch):
    monkeypatch.setattr(estimators, "MIN_PARALLEL_WORK", 0)
    diverging = NumpyMLPClassifier(epochs=5, optimizer="sgd", activation="identity", learning_rate=1e25)
    wild = [*five_estimators(), diverging]
    with pytest.raises(DivergenceError, match="learning_rate"):
        fit_fleet(wild, [*tables(), tables()[0]], n_jobs=2)
    assert not hasattr(wild[0], "coefs_")


def children():
    command = ["ps", "-ww", "-o", "pid=,args=", "--ppid", str(os.getpid())]
    lines = subprocess.run(command, capture_output=True, text=True).stdout.splitlines()
    return {int(line.split()[0]) for line in lines if "popen_loky" in line}


def test_a_killed_worker_is_an_error_and_not_a_hang(monkeypatch):
    monkeypatch.setattr(estimators, "MIN_PARALLEL_WORK", 0)
    long = [NumpyMLPClassifier(epochs=3000, random_state=k) for k in range(64)]  # blocks of some seconds each
    before = children()

    def kill():
        while not children() - before:
            time.sleep(0.05)
        time.sleep(0.5)
        os.kill((children() - before).pop(), signal.SIGKILL)

    threading.Thread(target=kill, daemon=True).start()
    with pytest.raises(BrokenProcessPool):
        fit_fleet(long, [(X, y)] * 64, n_jobs=2)
    assert not any(hasattr(net, "coefs_") for net in long)
    two, one = (fit_fleet(five_estimators(), tables(), n_jobs=n) for n in (2, 1))
    assert same(two, one)  # the next training works


def test_no_process_stays_behind_and_joblib_goes_on_working(monkeypatch):
    monkeypatch.setattr(estimators, "MIN_PARALLEL_WORK", 0)
    before = children()
    fit_fleet(five_estimators(), tables(), n_jobs=2)
    assert children() <= before
    assert Parallel(n_jobs=2)(delayed(abs)(i) for i in (-1, -2)) == [1, 2]


@pytest.mark.parametrize("rates", [(0.01, 0.2, 0.3), (0.7, 0.15, 0.95)])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_rates_of_others_do_not_change_a_members_bits(rates, dtype):
    def make():
        return [TextbookMLP([7, 6, 5, 4, 1], dropout=rate, dtype=dtype, seed=1) for rate in rates]

    alone, together, table = make(), make(), rows(dtype)
    for net in alone:
        Fleet([net]).train([table], 5)
    Fleet(together).train([table] * 3, 5)
    for a, b in zip(alone, together):
        assert np.array_equal(a.theta, b.theta)


def test_single_rows_as_batches_of_a_long_table():
    Xl, yl = make_classification(1500, 7, random_state=0)
    by_hand, member = (TextbookMLP([7, 3, 1], dropout=0.2, dtype="float64", seed=4) for _ in range(2))
    table = Xl, yl[:, None].astype(float), np.ones((1500, 1))
    train(by_hand, *table, epochs=3, batch_size=1)
    Fleet([member], 1).train([table], 3)
    np.testing.assert_allclose(by_hand.theta, member.theta, atol=1e-12)


def test_a_batch_size_beyond_the_table_costs_no_memory():
    huge, whole = (NumpyMLPClassifier(batch_size=n, epochs=2, random_state=0).fit(X, y) for n in (10**9, 150))
    assert np.array_equal(huge.coefs_[0], whole.coefs_[0])


def test_the_order_of_the_memory_does_not_matter():
    orders = X, np.asfortranarray(X), np.repeat(X, 2, axis=1)[:, ::2]
    nets = [NumpyMLPClassifier(epochs=3, random_state=0).fit(table, y) for table in orders]
    assert same(nets, [nets[0]] * 3)


def test_tables_that_do_not_fit_together_are_refused():
    short = tuple(a[:50] for a in rows("float64"))
    with pytest.raises(ValueError, match="all of one shape"):
        Fleet(nets()).train([rows("float64"), short, short], 1)
    with pytest.raises(ValueError, match="each of them once"):
        fit_fleet([NumpyMLPClassifier()] * 2, tables()[:2])
    with pytest.raises(ValueError, match="networks in NumPy"):
        fit_fleet([object()], tables()[:1])
    with pytest.raises(ValueError):
        fit_fleet(five_estimators(), tables()[:2])


def test_a_generator_of_estimators_is_fitted():
    generated = fit_fleet((net for net in five_estimators()), tables())
    assert same(generated, fit_fleet(five_estimators(), tables()))


@pytest.mark.slow
def test_a_million_rows_need_at_most_half_as_much_memory_again():
    code = (
        "import resource, numpy as np\nfrom mlp_bench.estimators import NumpyMLPClassifier\n"
        "X = np.random.default_rng(0).standard_normal((1_000_000, 50), dtype='float32')\n"
        "y = (X[:, 0] > 0).astype(int)\n"
        "NumpyMLPClassifier(epochs=1).fit(X[:100], y[:100])\n"
        "before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss\n"
        "NumpyMLPClassifier(epochs=1, batch_size=256).fit(X, y)\n"
        "print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) * 1024 / X.nbytes)"
    )
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert float(done.stdout) <= 0.5  # of the size of the data


@pytest.mark.parametrize("make", [NumpyMLPClassifier, NumpyMLPRegressor])
def test_members_with_parts_held_out_have_the_same_bits_alone_in_a_fleet_and_in_processes(make, monkeypatch):
    monkeypatch.setattr(estimators, "MIN_PARALLEL_WORK", 0)
    X, y = np.random.default_rng(0).normal(size=(50, 3)), np.arange(50) % 3
    settings = [dict(random_state=seed, ensemble=3 + seed, bagging=True, epochs=4) for seed in range(3)]
    alone = [make(**s).fit(X, y) for s in settings]
    for n_jobs in 1, 2:
        together = estimators.fit_fleet([make(**s) for s in settings], [(X, y)] * 3, n_jobs)
        for one, other in zip(alone, together):
            assert np.array_equal(one.oof_prediction_, other.oof_prediction_)
            assert one.oof_score_ == other.oof_score_ and np.array_equal(one.predict(X), other.predict(X))
