"""One table of settings: whoever reads a setting has its name, default, bounds and choices from there."""

import inspect
import math
import pickle
from dataclasses import MISSING, asdict, dataclass, fields, replace
from functools import cache

import numpy as np
import pytest
from traitlets import TraitError

from mlp_bench import cli, comparison, stats
from mlp_bench.config import (
    CONTRAST_METRICS,
    LOWER_IS_BETTER,
    METRIC_TABLE,
    METRIC_TITLES,
    METRICS,
    NET_PARAMS,
    NETWORKS,
    PRESETS,
    SETTINGS,
    TASKS,
    Config,
    Setting,
    format_metric,
    metrics_of,
)
from mlp_bench.core import InputError
from mlp_bench.estimators import NumpyMLPClassifier, NumpyMLPRegressor
from mlp_bench.data import load
from mlp_bench.evaluation import BACKENDS, BOOSTERS, RECIPE_VERSIONS, SCORES, check, key
from mlp_bench.features import RECIPES
from mlp_bench.keras_mlp import KerasMLPClassifier
from mlp_bench.numpy_mlp import ACTIVATIONS, OPTIMIZERS

ESTIMATORS = (NumpyMLPClassifier, KerasMLPClassifier, NumpyMLPRegressor)
NUMBERS = [name for name, s in SETTINGS.items() if s.kind in (int, float)]


def ends(setting):  # numbers just inside the bounds, and just outside
    least, greatest, reached = setting.bounds
    step = 1 if setting.kind is int else 1e-9
    inside = [least if reached in ("both", "left") else least + step]
    outside = [least - step if reached in ("both", "left") else least, math.nan]
    if greatest < math.inf:
        inside.append(greatest if reached in ("both", "right") else greatest - step)
        outside.append(greatest + step if reached in ("both", "right") else greatest)
    return list(map(setting.kind, inside)), outside + [None, True, "1"]


def by_table(name, value):
    s = SETTINGS[name]
    s.check(s.normalise(value))


@cache
def form():
    "The inputs of a page"
    page = comparison.Page()
    page.settings()
    return page


def in_form(name, value):
    "What the form describes when this was written into one of its inputs, or chosen there"
    box = form().inputs[name]
    before = box.value
    try:
        box.value = value
        return form().configs()[0]
    except TraitError:  # no such choice
        raise InputError(name) from None
    finally:
        box.value = before
        box.remove_class("invalid")


def by_form(name, value):
    in_form(name, value if SETTINGS[name].choices else str(value))


def by_estimator(name, value):
    NumpyMLPClassifier(**{"random_state" if name == "seed" else name: value})._validate_params()


def accepts(place, name, value):
    try:
        place(name, value)
    except ValueError:
        return False
    return True


@pytest.mark.parametrize("place", [by_table, by_form, by_estimator])
@pytest.mark.parametrize("name", NUMBERS)
def test_bounds_are_the_same_everywhere(name, place):
    inside, outside = ends(SETTINGS[name])
    if place is by_estimator and name == "seed":  # whose check is scikit-learn's: True and None will do
        outside = outside[:-3]
    if place is by_form:  # which has only text
        outside = outside[:-1]
    assert [accepts(place, name, v) for v in inside] == [True] * len(inside)
    assert [accepts(place, name, v) for v in outside] == [False] * len(outside)


@pytest.mark.parametrize("estimator", ESTIMATORS)
def test_estimators_have_the_names_and_defaults_of_the_table(estimator):
    defaults = {n: p.default for n, p in inspect.signature(estimator).parameters.items()}
    assert defaults.pop("random_state") is None and defaults.pop("warm_start") is False
    amounts = defaults.pop("loss", None) == "squared_error"
    of_classes = {"class_weight", "label_smoothing"} if amounts else set()
    assert defaults == {name: SETTINGS[name].default for name in NET_PARAMS if name not in of_classes}


def test_the_parameters_of_a_network_are_these_and_no_others():
    assert NET_PARAMS == [
        "hidden_layer_sizes",
        "activation",
        "dropout",
        "optimizer",
        "learning_rate",
        "weight_decay",
        "l2",
        "label_smoothing",
        "average_last",
        "initializer",
        "batch_size",
        "epochs",
        "early_stopping",
        "validation_fraction",
        "patience",
        "class_weight",
        "ensemble",
        "dtype",
        "rng",
        "bagging",
    ]


def test_choices_are_those_that_the_code_knows():
    known = dict(activation=ACTIVATIONS, optimizer=OPTIMIZERS, recipe=RECIPES, backend=[*BACKENDS, *BOOSTERS])
    for name, words in known.items():
        assert set(SETTINGS[name].choices) == set(words), name
    assert set(RECIPES) == set(RECIPE_VERSIONS)


@pytest.mark.parametrize("name", [name for name, s in SETTINGS.items() if s.choices])
def test_another_word_than_a_choice_is_refused_everywhere(name):
    for place in (by_table, by_form):
        assert not accepts(place, name, "no such word")
    assert name not in NET_PARAMS or not accepts(by_estimator, name, "no such word")


def test_the_form_the_commands_and_the_configuration_have_all_settings():
    names = [f.name for f in fields(Config)]
    assert names == list(SETTINGS) and set(form().inputs) == set(names)
    for command in (cli.run, cli.sweep):
        assert set(names) <= set(inspect.signature(command).parameters)
    assert form().configs() == [Config()]


def test_a_configuration_is_a_plain_dataclass():
    defaults = {n: p.default for n, p in inspect.signature(Config).parameters.items()}
    assert defaults == {n: s.default for n, s in SETTINGS.items()}
    assert all(f.default is not MISSING for f in fields(Config)) and Config.dropout == 0.2
    config = replace(Config(), hidden_layer_sizes=[8, 4], epochs=np.int64(3))
    assert pickle.loads(pickle.dumps(config)) == config == Config(**asdict(config)) and hash(config)
    assert config.hidden_layer_sizes == (8, 4) and type(config.epochs) is int


@pytest.mark.parametrize(
    "settings",
    [
        dict(learning_rate=10**400),
        dict(hidden_layer_sizes=[[8], [4, 4]]),
        dict(hidden_layer_sizes=np.ones((2, 2))),
        dict(dropout=np.array([0.1, 0.2])),
        dict(class_weight={0: 2}),
        dict(epochs=10**400),
        dict(hidden_layer_sizes=(10**400,)),
        dict(hidden_layer_sizes=None),
        dict(hidden_layer_sizes="32,16"),
        dict(optimizer=7),
        dict(early_stopping=1),
    ],
)
def test_a_value_that_cannot_be_is_one_short_sentence(settings):
    with pytest.raises(InputError) as caught:
        check(Config(**settings))
    text = str(caught.value)
    assert next(iter(settings)) in text and text.endswith(".") and len(text) < 200 and "\n" not in text


@pytest.mark.parametrize(
    "text, sizes", [("32,16", (32, 16)), ("32-16", (32, 16)), ("8", (8,)), (" 32, 16 ", (32, 16))]
)
def test_layers_are_read_alike_on_the_command_line_and_in_the_form(text, sizes):
    assert cli._configs(dict(hidden_layer_sizes=text), None, ["numpy"])[0].hidden_layer_sizes == sizes
    assert in_form("hidden_layer_sizes", text).hidden_layer_sizes == sizes
    lists = cli._asked_for(
        dict(backend="numpy", hidden_layer_sizes=text.replace(",", "-") + ",4"), None, None, 0
    )
    assert [c.hidden_layer_sizes for c in lists] == [sizes, (4,)]


@pytest.mark.parametrize("text", ["", "a", "0", "8,,x", "8,,4", "3.5", "-1,8x", "9" * 30])
def test_what_is_no_layer_is_refused_alike(text):
    layers = SETTINGS["hidden_layer_sizes"]
    with pytest.raises(InputError, match="hidden_layer_sizes must be"):
        layers.check(layers.parse(text))
    with pytest.raises(InputError, match="hidden_layer_sizes must be"):
        in_form("hidden_layer_sizes", text)


def test_no_class_weight_can_be_written():
    assert [c.class_weight for c in cli._configs(dict(class_weight="none"), None, NETWORKS)] == [None, None]
    lists = cli._asked_for(dict(backend="numpy", class_weight="none, balanced"), None, None, 0)
    assert [c.class_weight for c in lists] == [None, "balanced"]
    assert [in_form("class_weight", v).class_weight for v in ("", "balanced")] == [None, "balanced"]


def test_texts_are_left_as_they_are():
    (config,) = cli._configs(dict(data=" a b.csv", target="none", positive=" yes"), None, ["numpy"])
    assert (config.data, config.target, config.positive) == (" a b.csv", "none", " yes")


OTHERS = dict(  # another value of each setting, as a form has it, and as a configuration has it
    data=("t.csv", "t.csv"),
    target=("a b", "a b"),
    positive=("1", "1"),
    plan=("cv:3x2@5", "cv:3x2@5"),
    hidden_layer_sizes=("8 4", (8, 4)),
    dropout=("0", 0.0),
    learning_rate=("1e-2", 0.01),
    weight_decay=("1", 1.0),
    l2=("0.5", 0.5),
    label_smoothing=("0.1", 0.1),
    average_last=("1", 1.0),
    batch_size=("7", 7),
    epochs=("3", 3),
    early_stopping=(True, True),
    validation_fraction=("0.2", 0.2),
    patience=("4", 4),
    ensemble=("2", 2),
    seed=("9", 9),
    encoding=("cp1252", "cp1252"),
    header=(False, False),
    drop_unlabelled=(True, True),
    bagging=(True, True),
)


@pytest.mark.parametrize("name", SETTINGS)
def test_every_setting_can_be_set_in_the_form_and_the_others_stay(name):
    other = [c for c in SETTINGS[name].choices if c != SETTINGS[name].default]
    written, value = OTHERS[name] if name in OTHERS else (other[0], other[0])
    assert in_form(name, written) == replace(Config(), **{name: value})
    assert form().configs() == [Config()]


def test_both_networks_can_be_chosen_at_once_and_what_is_wrong_is_marked():
    box = form().inputs["backend"]
    box.value = "both"
    assert form().configs() == [Config(backend="numpy"), Config(backend="keras")]
    box.value = "numpy"
    wrong = form().inputs["epochs"]
    wrong.value = "1e3"
    with pytest.raises(InputError, match="epochs must be a whole number from 1 to 10,000,000, got '1e3'"):
        form().configs()
    assert "invalid" in wrong._dom_classes and "invalid" not in box._dom_classes
    wrong.value = "100"
    form().configs()
    assert "invalid" not in wrong._dom_classes


def test_presets_are_within_the_bounds():
    for name, settings in PRESETS.items():
        check(Config(**settings))


def test_what_a_setting_needs_is_a_setting():
    assert {s.needs for s in SETTINGS.values()} - {""} <= set(SETTINGS)
    assert all(set(s.read_by) <= {*BACKENDS, *BOOSTERS} for s in SETTINGS.values())


@pytest.mark.parametrize("backend, in_key", [("numpy", True), ("keras", True), ("logistic", False)])
def test_a_setting_added_later_leaves_the_keys_of_older_runs_alone(backend, in_key, monkeypatch):
    heart, older = load("heart"), key(Config(backend=backend), load("heart"))
    momentum = Setting("momentum", float, 0.9, "Momentum", "a new one", read_by=NETWORKS, later=True)
    monkeypatch.setitem(SETTINGS, "momentum", momentum)

    @dataclass(frozen=True)
    class Wider(Config):
        momentum: float = 0.9

    assert key(Wider(backend=backend), heart) == older
    assert (key(Wider(backend=backend, momentum=0.5), heart) != older) == in_key


def test_metrics_are_computed_titled_and_directed_by_one_table():
    assert {task: tuple(scores) for task, scores in SCORES.items()} == {t: metrics_of(t) for t in TASKS}
    assert CONTRAST_METRICS == (*METRICS, *stats.MEASURES)
    assert set(METRIC_TITLES) == set(METRIC_TABLE) >= set(LOWER_IS_BETTER)
    assert format_metric("roc_auc", 0.93) == "0.930" and format_metric("fit_seconds", 0.043) == "43 ms"
