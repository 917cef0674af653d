__version__ = "0.1.0"
"""One multi-layer perceptron twice, in plain NumPy and in Keras, compared with evidence.

Names are loaded when they are first used, so that `import mlp_bench` costs nothing.
"""
from importlib import import_module as _import_module

_HOMES = {"NumpyMLPClassifier": "classifier", "TextbookMLP": "numpy_mlp", "Fleet": "numpy_mlp", "fit_fleet": "classifier",
          "KerasMLPClassifier": "keras_mlp", "load": "data", "audit": "data", "report": "reports",
          "recipe": "features", "Cleaner": "cleaning", "Config": "config", "preset": "config", "run": "manager", "runs": "store",
          "load_model": "manager", "purge": "housekeeping", "sweep": "sweeps", "rank": "compare", "contrast": "compare", "dashboard": "compare"}
__all__ = [*_HOMES, "compare"]


def __getattr__(name):
    if name == "compare": return _import_module("mlp_bench.compare")  # a module that can be called, see chapter 6
    if name in _HOMES: return getattr(_import_module(f"mlp_bench.{_HOMES[name]}"), name)
    raise AttributeError(f"module 'mlp_bench' has no attribute {name!r}")


def __dir__(): return sorted([*globals(), *__all__])
