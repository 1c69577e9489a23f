"""Names that are safe as a file below a folder, as an MLflow key and inside a search filter."""

import re
from pathlib import Path, PurePosixPath

from medtransfer.errors import TrackingError
from medtransfer.paths import is_plain

_PART = re.compile(r"[\w+@=,-][\w+@=, .-]*")
_KEY = re.compile(r"[\w. :/-]{1,250}")
_MODEL = re.compile(r"[A-Za-z][\w-]*")
_RUN_KEY = re.compile(r"[0-9a-f]{32}")
_WEIGHTS = frozenset({".safetensors", ".pt", ".pth", ".ckpt", ".pkl", ".pickle", ".npz"})


def artefact_name(name: str) -> PurePosixPath:
    """Return a relative path such as ``plots/roc.png`` that cannot leave its folder.

    Raises:
        TrackingError: the name is absolute, climbs (``..``), is empty, or holds a backslash, percent sign or NUL.
    """
    parts = name.split("/")
    if not all(_PART.fullmatch(part) and ".." not in part for part in parts):
        raise TrackingError(
            f"artefact name {name!r} is not a plain relative path: use letters, digits, '.', '-', '_' between slashes"
        )
    return PurePosixPath(*parts)


def artefact_path(folder: Path, name: str) -> Path:
    """Return the file of an artefact below ``folder``; a symbolic link that leads outside is refused."""
    path = folder / artefact_name(name)
    if not path.resolve().is_relative_to(folder.resolve()):
        raise TrackingError(f"artefact {name!r} leaves {folder.name} through a symbolic link: remove the link")
    return path


def check_key(key: str) -> None:
    """Refuse a parameter, metric or tag key that a tracking store would refuse later, behind the training loop."""
    if not _KEY.fullmatch(key) or key.startswith("/") or ".." in key or "//" in key:
        raise TrackingError(
            f"key {key!r} cannot be tracked: use at most 250 letters, digits, spaces and any of '_-.:/', "
            "such as 'val/auroc'"
        )


def check_model_name(name: str) -> None:
    """Refuse a registered model's name or alias that is not a plain word such as ``covid-ct``.

    It is stricter than the rule for names that become folders, because a model's address has signs of its own.
    """
    if not (is_plain(name) and _MODEL.fullmatch(name)):
        raise TrackingError(f"model name or alias {name!r}: use letters, digits, '-' and '_', beginning with a letter")


def check_run_key(key: str) -> str:
    """Return a run key, which must be 32 hexadecimal digits (it goes into search filters)."""
    if not _RUN_KEY.fullmatch(key):
        raise TrackingError(f"run key {key!r} is not 32 hexadecimal digits: the record does not come from medtransfer")
    return key


def refuse_weights(name: str) -> None:
    """Refuse to track a file of weights: they live in the stage's outputs and, once, in the registered champion."""
    if PurePosixPath(name).suffix.lower() in _WEIGHTS:
        raise TrackingError(f"{name!r} holds weights, which a run does not store: register the model instead")
