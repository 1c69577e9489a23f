"""medtransfer: which pretrained knowledge transfers to a medical imaging task, how much, and why.

The Python use, with the code of the command line; nothing is imported before it is called:

    import medtransfer as mt

    model = mt.load_model("models:/covid-ct@champion")
    mt.predict(model, ["scan.png"])

``load_model``, ``predict``, ``evaluate``, ``audit_model``, ``explain_images``: see ``medtransfer.api``.
"""

from importlib import import_module
from typing import Any

__version__ = "0.1.0"
__all__ = ["audit_model", "evaluate", "explain_images", "load_model", "predict"]  # by __getattr__


def __getattr__(name: str) -> Any:
    if name in __all__:
        return getattr(import_module("medtransfer.api"), name)  # by name, so that no stage's code depends on it
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
