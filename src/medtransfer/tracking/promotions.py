"""Which version carried an alias, since when, by whom and why: an append-only log in the registered model's tags.

Each entry is a tag of its own with a unique key, so two promoters at the same time lose no entry, and "which version
was the champion on that day" has an answer.
"""

import json
import time
import uuid
from dataclasses import asdict, dataclass
from typing import Any

from medtransfer.errors import GateClosed, TrackingError
from medtransfer.tracking.names import check_model_name
from medtransfer.tracking.store import client

_PREFIX = "promotion."
_CLOSED = ("closed", "failed")


@dataclass(frozen=True)
class Promotion:
    """One entry of the log: an alias moved to ``version`` from ``previous`` (0 = there was none) at a Unix time."""

    alias: str
    version: int
    previous: int
    who: str
    why: str
    time: float
    rollback: bool = False


def promote(
    name: str, version: int, alias: str, why: str, *, who: str = "pipeline", uri: str | None = None
) -> Promotion:
    """Move an alias to a version and log it.

    Raises:
        TrackingError: the model, version or reason is missing.
        GateClosed: a tag ``gate``, ``gate.<name>`` or ``audit`` of the version begins with ``closed`` or ``failed``.
    """
    _check(name, alias)
    return _move(client(uri), Promotion(alias, version, 0, who, why, time.time()), name)


def rollback(
    name: str, alias: str, *, why: str = "rollback", who: str = "pipeline", uri: str | None = None
) -> Promotion:
    """Move an alias back to the version that carried it before; once more goes one further back.

    Raises:
        TrackingError: there is no earlier version.
        GateClosed: the earlier version may no longer be promoted.
    """
    carried: list[int] = []
    for entry in promotions(name, alias, uri=uri):
        if entry.rollback:
            carried.pop()
        else:
            carried.append(entry.version)
    if len(carried) < 2:
        raise TrackingError(f"{name}@{alias}: no earlier version to go back to: promote one instead")
    entry = Promotion(alias, carried[-2], 0, who, why, time.time(), rollback=True)
    return _move(client(uri), entry, name)


def promotions(name: str, alias: str, *, uri: str | None = None) -> list[Promotion]:
    """Return the log of an alias, oldest entry first.

    Raises:
        TrackingError: no such registered model.
    """
    _check(name, alias)
    tags = _model(client(uri), name).tags
    entries = [Promotion(**json.loads(value)) for key, value in sorted(tags.items()) if key.startswith(_PREFIX)]
    return [entry for entry in entries if entry.alias == alias]


def _check(name: str, alias: str) -> None:
    """Refuse names before the store is opened, which would make one where there is none."""
    check_model_name(name)
    check_model_name(alias)


def _move(store: Any, entry: Promotion, name: str) -> Promotion:
    if not entry.why.strip():
        raise TrackingError(f"{name}@{entry.alias}: a promotion needs a reason: say why")
    previous = int(_model(store, name).aliases.get(entry.alias, 0))
    _require_open_gates(store, name, entry.version)
    entry = Promotion(**asdict(entry) | {"previous": previous})
    key = f"{_PREFIX}{time.time_ns():020d}.{uuid.uuid4().hex[:8]}"
    store.set_registered_model_tag(name, key, json.dumps(asdict(entry)))
    store.set_registered_model_alias(name, entry.alias, str(entry.version))
    return entry


def _require_open_gates(store: Any, name: str, version: int) -> None:
    from mlflow.exceptions import MlflowException

    try:
        tags = store.get_model_version(name, str(version)).tags
    except MlflowException as error:
        raise TrackingError(f"{name}: there is no version {version}: register it first") from error
    for key, value in tags.items():
        if (key in ("gate", "audit") or key.startswith("gate.")) and value.startswith(_CLOSED):
            raise GateClosed(f"{name} version {version} may not be promoted: its tag {key} is {value!r}")


def _model(store: Any, name: str) -> Any:
    from mlflow.exceptions import MlflowException

    try:
        return store.get_registered_model(name)
    except MlflowException as error:
        raise TrackingError(f"{name}: no such registered model: register one first") from error
