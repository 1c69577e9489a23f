"""What a tracking store's refusal means, by its error code: not there, not allowed, not reachable, locked, damaged."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from medtransfer.errors import TrackingError
from medtransfer.tracking.address import portable_uri

_ABSENT = ("RESOURCE_DOES_NOT_EXIST", "NOT_FOUND")
_BUSY = "TEMPORARILY_UNAVAILABLE"
_LOGIN = "wants a login (401): set MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD, or a token"
_DAMAGED = "is damaged: restore mlflow.db from a backup, or move it away and import the runs again"
_MEANING = {
    "UNAUTHENTICATED": _LOGIN,
    "CUSTOMER_UNAUTHORIZED": _LOGIN,
    "PERMISSION_DENIED": "does not allow this to you (403): ask its administrator",
    "ENDPOINT_NOT_FOUND": "is no MLflow server (404): correct MLFLOW_TRACKING_URI",
    _BUSY: "is not available now (503): repeat later",
    "REQUEST_LIMIT_EXCEEDED": "refuses so many requests (429): repeat later",
}
_SIGNS = (
    ("proxyerror", "cannot be reached through the proxy: correct HTTP_PROXY and HTTPS_PROXY, or set NO_PROXY"),
    ("too many 503", "is not available now (503): repeat later"),
    ("too many 429", "refuses so many requests (429): repeat later"),
    ("database is locked", "is locked by another process: wait until it ends, and repeat"),
    ("timeout", "does not answer in time: repeat later"),
    ("max retries exceeded", "does not answer: start the server, or correct MLFLOW_TRACKING_URI"),
    ("connection refused", "does not answer: start the server, or correct MLFLOW_TRACKING_URI"),
    ("file is not a database", _DAMAGED),
    ("malformed", _DAMAGED),
    ("no such table", _DAMAGED),
    ("readonly database", "is read-only: give yourself the right to write it"),
    ("unable to open database file", "cannot be opened: it must be a file in a folder that you may write"),
)
"""Words of the database drivers and of requests, which have no codes of their own, in the order they are looked for."""


_FULL = ("disk is full", "no space left", "file too large", "quota exceeded")
_ROOM = "has no room left on its disk: make room, and repeat"


def is_full(error: BaseException) -> bool:
    """Return whether a full disk is behind an error; MLflow says in words of its own what failed, not why."""
    cause = error.__cause__ or error.__context__
    return any(sign in str(error).lower() for sign in _FULL) or (cause is not None and is_full(cause))


def is_absent(error: Exception) -> bool:
    """Return whether the store says that what was asked for does not exist, and nothing worse."""
    code = getattr(error, "error_code", "")
    # the registry answers a missing alias of an existing model with a code for bad input
    missing_alias = code == "INVALID_PARAMETER_VALUE" and "alias" in str(error) and "not found" in str(error)
    return code in _ABSENT or missing_alias


def meaning(uri: str, error: Exception) -> str:
    """Return one line: the store's address and what its refusal means."""
    text, code = str(error).lower(), getattr(error, "error_code", "")
    said = _ROOM if is_full(error) else next((why for sign, why in _SIGNS if sign in text), "")
    # MLflow gives every refusal of a database the code of a server that is not available; the driver's words say more
    known = said if said and code == _BUSY else _MEANING.get(code, said)
    return f"{portable_uri(uri)}: the tracking store {known or f'refused ({first_line(error)})'}"


@contextmanager
def refused(store: Any, absent: str) -> Iterator[None]:
    """Turn a refusal inside the block into one line: ``absent`` if something does not exist, else what is wrong.

    Raises:
        TrackingError: the store refused.
    """
    from mlflow.exceptions import MlflowException
    from sqlalchemy.exc import SQLAlchemyError

    try:
        yield
    except (MlflowException, SQLAlchemyError) as error:
        raise TrackingError(absent if is_absent(error) else meaning(store.tracking_uri, error)) from error


def first_line(error: Exception) -> str:
    """Return the first line of an error's text, its class where there is no text; SQL errors run over many lines."""
    return (str(error).splitlines() or [type(error).__name__])[0]
