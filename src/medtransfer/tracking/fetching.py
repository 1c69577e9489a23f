"""Weights and config of a registered model, by its address."""

import re
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from medtransfer.errors import TrackingError
from medtransfer.paths import fetched_model, workspace
from medtransfer.tracking.gates import (
    AUDIT,
    CARD,
    HASHES,
    OPTIONAL,
    VALIDATION,
    checked_download,
    download,
    listed,
    served_files,
)
from medtransfer.tracking.names import check_model_name
from medtransfer.tracking.refusals import refused
from medtransfer.tracking.store import client

if TYPE_CHECKING:
    import pandas as pd


def fetch_model(model: str, *, folder: Path | None = None, uri: str | None = None) -> Path:
    """Download a registered model's weights, config and what else it answers with; return their folder.

    A version may have temperatures and statistics of its training images.

    Args:
        model: ``models:/<name>@<alias>`` or ``models:/<name>/<version>``.
        folder: Where to put them; ``.scratch/models/<name>-<version>`` of the workspace by default.
        uri: Tracking address.

    Example:
        network, description = load_model(fetch_model("models:/covid-ct@champion"))

    Raises:
        TrackingError: no such model, or the bytes are not those that were registered.
    """
    store, entry = _found(model, uri)
    target = folder or workspace() / fetched_model(entry.name, int(entry.version))
    target.mkdir(parents=True, exist_ok=True)
    wanted = served_files(entry.tags)
    with tempfile.TemporaryDirectory(dir=target, prefix=".part-") as staged:
        for file in wanted:
            checked_download(store, entry, file, Path(staged)).replace(target / file)
    for file in set(OPTIONAL).difference(wanted):
        (target / file).unlink(missing_ok=True)  # of a version with this number in another store
    return target


def version_of(model: str, *, uri: str | None = None) -> int:
    """Return the version that an address means now; nothing is downloaded.

    Args:
        model: its address, as for :func:`fetch_model`.
        uri: tracking address.

    Raises:
        TrackingError: no such model, or the store cannot be reached.
    """
    return int(_found(model, uri)[1].version)


def fetch_card(model: str, *, uri: str | None = None) -> str:
    """Return the model card of a registered model, Markdown without its metadata; empty where it has none.

    Args:
        model: its address, as for :func:`fetch_model`.
        uri: tracking address.

    Raises:
        TrackingError: no such model, or its card cannot be downloaded.
    """
    store, entry = _found(model, uri)
    if CARD not in listed(store, entry):
        return ""
    with tempfile.TemporaryDirectory() as folder:
        text = download(store, entry, CARD, Path(folder)).read_text(encoding="utf-8")
    return text.split("---\n", 2)[-1].strip()


def has_validation(model: str, *, uri: str | None = None) -> bool:
    """Return whether a model was registered with its predictions on validation images.

    Args:
        model: its address, as for :func:`fetch_model`.
        uri: tracking address.

    Raises:
        TrackingError: no such model, or the store cannot be reached.
    """
    return HASHES[VALIDATION] in _found(model, uri)[1].tags


def fetch_validation(model: str, *, uri: str | None = None) -> "pd.DataFrame":
    """Return the predictions of a registered model on its validation images, patients without their names.

    Args:
        model: its address, as for :func:`fetch_model`.
        uri: tracking address.

    Raises:
        TrackingError: no such model, it was registered without them, or the bytes are not those that were registered.
    """
    import pandas as pd

    store, entry = _found(model, uri)
    with tempfile.TemporaryDirectory() as folder:
        return pd.read_parquet(checked_download(store, entry, VALIDATION, Path(folder)))


def note_audit(model: str, found: str, *, uri: str | None = None) -> None:
    """Keep what an audit found as a tag of a registered version, which the promotion gate reads.

    Args:
        model: its address, as for :func:`fetch_model`.
        found: the model half's verdict first, such as ``confounded: …``.
        uri: tracking address.

    Raises:
        TrackingError: no such model, or the store refuses.
    """
    store, entry = _found(model, uri)
    with refused(store, f"{model}: no such version"):
        store.set_model_version_tag(entry.name, entry.version, AUDIT, found)


def _found(model: str, uri: str | None) -> tuple[Any, Any]:
    """Return the store, and the version that an address means now."""
    address = _address(model)
    store = client(uri, new=False)
    return store, _resolve(store, model, *address)


def _address(model: str) -> tuple[str, str | None, str | None]:
    """Return the name, and the alias or the version, of a model's address."""
    match = re.fullmatch(r"models:/([^@/]*)(?:@(.*)|/([0-9]{1,9}))", model)
    if match is None:
        raise TrackingError(f"{model!r} names no model: write models:/<name>@<alias> or models:/<name>/<version>")
    name, alias, version = match.groups()
    check_model_name(name)
    if alias is not None:
        check_model_name(alias)
    return name, alias, version


def _resolve(store: Any, model: str, name: str, alias: str | None, version: str | None) -> Any:
    """Return the version of an address.

    Raises:
        TrackingError: there is none; the message names those that exist.
    """
    with refused(store, f"{model}: no such registered model: run the register stage, or correct the name"):
        known = store.get_registered_model(name)
    found = store.search_model_versions(f"name = '{name}'")
    aliases = ", ".join(f"@{each}" for each in sorted(known.aliases)) or "none"
    versions = ", ".join(sorted((str(each.version) for each in found), key=int)) or "none"
    with refused(store, f"{model}: no such version; aliases: {aliases}; versions: {versions}"):
        return store.get_model_version_by_alias(name, alias) if alias else store.get_model_version(name, version)
