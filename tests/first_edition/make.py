"""Made the store and the golden numbers of this folder, with the first edition of mlp_bench.

It ran at commit 887b5a5 with Python 3.11.7, numpy 2.4.6, scikit-learn 1.9.1, pandas 3.1.1, mlflow 3.17.2,
keras 3.15.1, tensorflow 2.21.0, lightgbm 4.7.0 and skops 0.16.0, as `python tests/first_edition/make.py`.
Later editions only read what it made: to make it again would hide the changes that it is there to show.

- `mlflow.sql`: the run store as text, for SQLite; as if it had been made in the folder /first_edition
- `mlartifacts.zip`: its files; of the figures, which nothing reads again, those of the first run only
- `own.csv`: a table of its own, which one run is about
- `golden.json`: keys, ranks, contrasts, predictions, digits of networks, public names
"""

import hashlib
import importlib
import inspect
import json
import os
import pkgutil
import re
import shutil
import socket
import sqlite3
import subprocess
import sys
import tempfile
import zipfile
from contextlib import closing, suppress
from importlib.metadata import version
from pathlib import Path

import numpy as np

HERE = Path(__file__).resolve().parent
LIBRARIES = ["numpy", "scikit-learn", "keras", "tensorflow", "lightgbm", "pandas", "mlflow", "skops"]

SMALL = dict(plan="cv:3x1", epochs=3, hidden_layer_sizes=[8], learning_rate=0.01)
OWN = dict(data="own.csv", target="Outcome")
STORED = [
    SMALL,
    SMALL | dict(ensemble=2),
    SMALL | dict(backend="keras"),
    SMALL | dict(backend="logistic"),
    SMALL | dict(backend="majority"),
    SMALL | dict(backend="sklearn_mlp"),
    SMALL | dict(backend="hist_gb"),
    SMALL | dict(backend="lightgbm"),
    SMALL
    | dict(recipe="robust", optimizer="adamw", weight_decay=1.0, label_smoothing=0.03, average_last=0.5),
    SMALL | dict(recipe="seed", activation="tanh", early_stopping=True, patience=1, dtype="float64"),
    SMALL | dict(data="heart-restored", plan="groups", rng="keras"),
    SMALL | dict(plan="holdout", class_weight="balanced"),
    SMALL | OWN | dict(plan="cv:3"),
]
WILD = SMALL | dict(optimizer="sgd", learning_rate=1e6, epochs=200, dropout=0.0)  # diverges, so its run fails
CUT = SMALL | dict(seed=7)  # its process ends in the middle

KEYED = [
    {},
    *STORED,
    *({"backend": b} for b in ("keras", "logistic", "majority", "sklearn_mlp", "hist_gb", "lightgbm")),
    dict(data="heart-restored"),
    dict(data="heart-restored", backend="keras", plan="groups"),
    dict(data="heart", target="HeartDisease"),
    dict(positive="0"),
    OWN,
    OWN | dict(positive="no"),
    OWN | dict(recipe="robust", backend="hist_gb", seed=3),
    dict(recipe="robust"),
    dict(recipe="seed"),
    dict(recipe="seed", backend="logistic"),
    dict(plan="cv:5"),
    dict(plan="cv:5x1@2026"),
    dict(plan="cv:10x5@7"),
    dict(plan="holdout"),
    dict(hidden_layer_sizes=[32]),
    dict(hidden_layer_sizes=[64, 32, 16]),
    dict(activation="gelu"),
    dict(dropout=0.0),
    dict(dropout=0.0, rng="keras"),
    dict(rng="keras"),
    dict(optimizer="nesterov"),
    dict(learning_rate=1),
    dict(weight_decay=0.5, l2=0.01),
    dict(l2=-0.0),
    dict(label_smoothing=0.1),
    dict(average_last=0.25),
    dict(initializer="glorot_normal"),
    dict(batch_size=64),
    dict(epochs=7),
    dict(patience=3),
    dict(validation_fraction=0.3),
    dict(early_stopping=True),
    dict(early_stopping=True, patience=3, validation_fraction=0.3),
    dict(class_weight="balanced"),
    dict(ensemble=4),
    dict(dtype="float64"),
    dict(seed=1),
    dict(backend="majority", seed=1),
    dict(backend="logistic", epochs=5),
    dict(backend="hist_gb", seed=1),
    dict(backend="keras", seed=1, rng="keras"),
]
NETWORKS = [
    {},
    dict(activation="tanh", optimizer="sgd"),
    dict(activation="sigmoid", optimizer="momentum", l2=0.01),
    dict(activation="gelu", optimizer="nesterov", initializer="glorot_normal"),
    dict(activation="identity", optimizer="rmsprop", class_weight="balanced"),
    dict(optimizer="adamw", weight_decay=1.0, average_last=0.5, label_smoothing=0.05),
    dict(early_stopping=True, patience=1, validation_fraction=0.2),
    dict(ensemble=3, batch_size=50),
    dict(rng="keras", dtype="float64"),
    dict(dropout=0.0, hidden_layer_sizes=[5]),
]
JUDGED = ("roc_auc", "log_loss", "average_precision")
CONTRASTED = [(0, 2), (0, 3), (1, 6), (8, 9)]  # places in STORED, all judged on the same folds


# ---- what the tests compute again


def config(settings):
    "A configuration from plain settings"
    from mlp_bench import Config

    return Config(**settings)


def loaded(settings):
    "The table of a configuration"
    from mlp_bench import load

    c = config(settings)
    return load(c.data, c.target, c.positive)


def rows(dataset):
    "A few rows to predict, with numbers as MLflow's schema wants them"
    X = dataset.X.iloc[:: max(1, len(dataset.X) // 8)]
    return X.astype({c: float for c in X if X[c].dtype.kind in "iuf"})


def arithmetic():
    "Where this is the same, the same program gives the same bits"
    from scipy.special import erf, expit

    rng, digest = np.random.default_rng(0), hashlib.sha256(np.__version__.encode())
    for dtype in "float32", "float64":
        a, b = rng.normal(size=(3, 32, 23)).astype(dtype), rng.normal(size=(3, 23, 16)).astype(dtype)
        sums = [a @ b, np.swapaxes(a, 1, 2) @ a, a.sum(axis=1)]
        curves = [np.exp, np.tanh, np.cbrt, expit, erf]
        for x in sums + [f(a) for f in curves] + [f(np.abs(a)) for f in (np.log, np.sqrt)]:
            digest.update(np.ascontiguousarray(x).tobytes())
    return digest.hexdigest()


def out_of_fold():
    "Probabilities of disease of every 46th row, from networks that were trained without it"
    from sklearn.model_selection import StratifiedKFold, cross_val_predict
    from sklearn.pipeline import make_pipeline

    from mlp_bench import NumpyMLPClassifier, load, recipe

    heart, folds = load("heart"), StratifiedKFold(3, shuffle=True, random_state=0)
    model = make_pipeline(recipe("standard"), NumpyMLPClassifier(epochs=5, random_state=0))
    return cross_val_predict(model, heart.X, heart.y, cv=folds, method="predict_proba")[::46, 1].tolist()


def networks():
    "What small networks of all kinds say of four rows, trained one by one"
    from mlp_bench import NumpyMLPClassifier, load, recipe

    heart = load("heart")
    X, y = recipe("standard").fit_transform(heart.X, heart.y), heart.y
    kinds = [NumpyMLPClassifier(**{**dict(epochs=3, random_state=1), **settings}) for settings in NETWORKS]
    return [net.fit(X[::2], y[::2]).predict_proba(X[1:80:20])[:, 1].tolist() for net in kinds]


def fleet():
    "The same of two networks trained together on different rows"
    from mlp_bench import NumpyMLPClassifier, fit_fleet, load, recipe

    heart = load("heart")
    X, y = recipe("robust").fit_transform(heart.X, heart.y), heart.y
    nets = [NumpyMLPClassifier(epochs=3, random_state=s) for s in (0, 1)]
    nets = fit_fleet(nets, [(X[::2], y[::2]), (X[1::2], y[1::2])])
    return [net.predict_proba(X[:80:20])[:, 1].tolist() for net in nets]


def public_names():
    "What the package's names are, after all of its modules have been imported"
    import mlp_bench

    for module in pkgutil.walk_packages(mlp_bench.__path__, "mlp_bench."):
        importlib.import_module(module.name)
    return {
        name: _described(getattr(mlp_bench, name)) for name in mlp_bench.__all__ if name != "InputError"
    }  # an exception has no signature


def _described(it):
    kind = "class" if inspect.isclass(it) else "function" if inspect.isfunction(it) else "callable"
    return [kind, *(str(p.replace(annotation=p.empty)) for p in inspect.signature(it).parameters.values())]


# ---- making it


def _own_table():
    rng = np.random.default_rng(5)
    for i in range(60):
        age, dose, score = int(rng.integers(20, 80)), round(float(rng.gamma(2, 3)), 2), round(rng.normal(), 3)
        region, sex = ("north", "south", "east", "")[i % 4], "fm"[rng.integers(2)]
        outcome = "yes" if score + (age - 50) / 20 > 0 else "no"
        yield ",".join(map(str, [age, dose if i % 9 else "", region, sex, score, outcome]))


def _train():
    from mlflow import MlflowClient

    from mlp_bench import run

    found = [run(config(settings)) for settings in STORED]
    with suppress(ValueError):
        run(config(WILD))
    end = f"import os, mlp_bench; mlp_bench.run(mlp_bench.Config(**{CUT!r}), progress=lambda *_: os._exit(1))"
    subprocess.run([sys.executable, "-c", end])
    client = MlflowClient(os.environ["MLFLOW_TRACKING_URI"])
    client.set_tag(found[1].run_id, "mlp_bench.star", "1")
    client.set_tag(found[1].run_id, "mlflow.note.content", "two of them – averaged")
    return found


def _golden(found):
    return dict(
        made=_made(),
        keys=[dict(config=settings, key=config(settings).key(loaded(settings))) for settings in KEYED],
        runs=[_run(r, settings) for r, settings in zip(found, STORED)],
        **_listed(),
        contrasts=[_contrast(found[a], found[b], m) for a, b in CONTRASTED for m in JUDGED],
        default=_default(),
        out_of_fold=out_of_fold(),
        networks=networks(),
        fleet=fleet(),
        names=_names(),
    )


def _made():
    libraries = {n: version(n) for n in LIBRARIES}
    return dict(commit="887b5a5", python=sys.version.split()[0], libraries=libraries, arithmetic=arithmetic())


def _run(r, settings):
    from mlp_bench import load_model

    said = load_model(r.run_id).predict(rows(loaded(settings)))
    return dict(
        run_id=r.run_id,
        config=settings,
        key=r.key,
        metrics=r.metrics,
        curve=r.curve.tolist(),
        p=said.p.tolist(),
        label=said.label.tolist(),
    )


def _listed():
    from mlp_bench import rank, runs

    places = ["run_id", "rank", "dataset", "plan", "backend"]
    ranks = {m: rank(m)[places].values.tolist() for m in ("roc_auc", "log_loss")}
    return dict(columns=list(runs()), ranks=ranks)


def _contrast(a, b, metric):
    from mlp_bench import contrast

    facts = ("difference", "ci95", "p_value", "p_equivalent", "probabilities", "folds", "times_faster")
    found = contrast(a, b, metric)
    return dict(a=a.run_id, b=b.run_id, metric=metric, **{f: getattr(found, f) for f in facts})


def _names():  # in a process that has imported nothing yet
    code = "import json, make; print(json.dumps(make.public_names()))"
    return json.loads(subprocess.check_output([sys.executable, "-c", code], cwd=HERE))


def _default():  # in a store of its own, which is thrown away
    from mlp_bench import Config, run

    before = os.environ["MLFLOW_TRACKING_URI"]
    with tempfile.TemporaryDirectory() as d:
        os.environ["MLFLOW_TRACKING_URI"] = f"sqlite:///{d}/mlflow.db"
        found = run(Config()).metrics
    os.environ["MLFLOW_TRACKING_URI"] = before
    return {m: v for m, v in found.items() if m not in ("fit_seconds", "predict_us_per_row")}


def _anywhere(text, folder):  # without names of this machine
    text = text.replace(str(folder), "/first_edition")
    text = re.sub(rf"{re.escape(tempfile.gettempdir())}/tmp\w+", "/first_edition/tmp", text)
    text = re.sub(rf"'{re.escape(socket.gethostname())}:\d+:\d+'", "'host:999999999:1'", text)
    return re.sub(r"('mlflow\.user',')[^']*'", r"\1user'", text)


def _keep(folder, first):
    with closing(sqlite3.connect(folder / "mlflow.db")) as db:
        dump = "\n".join(db.iterdump()) + "\n"
    (HERE / "mlflow.sql").write_text(_anywhere(dump, folder))
    artifacts = folder / "mlartifacts"
    files = [p for p in sorted(artifacts.rglob("*")) if p.is_file()]
    with zipfile.ZipFile(HERE / "mlartifacts.zip", "w", compresslevel=9) as archive:
        for p in files:
            if p.suffix == ".png" and first not in str(p):
                continue
            data = _anywhere(p.read_text(), folder) if p.name == "MLmodel" else p.read_bytes()
            archive.writestr(zipfile.ZipInfo(str(p.relative_to(artifacts))), data, zipfile.ZIP_DEFLATED)


def main():
    (HERE / "own.csv").write_text("\n".join(["Age,Dose,Region,Sex,Score,Outcome", *_own_table()]) + "\n")
    with tempfile.TemporaryDirectory(prefix="first_edition") as d:
        shutil.copy(HERE / "own.csv", d)
        os.chdir(d)
        os.environ["MLFLOW_TRACKING_URI"] = f"sqlite:///{d}/mlflow.db"
        found = _train()
        (HERE / "golden.json").write_text(json.dumps(_golden(found), indent=1, ensure_ascii=False) + "\n")
        _keep(Path(d), found[0].run_id)
        os.chdir(HERE)


if __name__ == "__main__":
    main()
