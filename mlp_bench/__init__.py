__version__ = "0.1.0"
"""One multi-layer perceptron twice, in plain NumPy and in Keras, compared with evidence.

Names are loaded when they are first used, so that `import mlp_bench` costs nothing.
"""
from importlib import import_module as _import_module

_HOMES = {
    "InputError": "core", "Config": "config", "preset": "config", "Dataset": "data", "load": "data", "audit": "eda",
    "Cleaner": "cleaning", "recipe": "features", "TextbookMLP": "numpy_mlp", "Fleet": "fleet",
    "NumpyMLPClassifier": "estimators", "NumpyMLPRegressor": "estimators", "fit_fleet": "estimators",
    "KerasMLPClassifier": "keras_mlp", "KerasMLPRegressor": "keras_mlp",
    "Run": "tracking", "runs": "tracking", "get_run": "tracking", "purge": "tracking",
    "run": "manager", "run_all": "manager", "load_model": "manager", "sweep": "sweeps", "report": "reports",
    "rank": "ranking", "contrast": "ranking", "compare": "ranking", "dashboard": "comparison",
}
__all__ = list(_HOMES)


def __getattr__(name):
    if name in _HOMES: return getattr(_import_module(f"mlp_bench.{_HOMES[name]}"), name)
    raise AttributeError(f"module 'mlp_bench' has no attribute {name!r}")


def __dir__(): return sorted([*globals(), *__all__])
