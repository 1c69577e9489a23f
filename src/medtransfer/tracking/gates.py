"""What a registered version has to show before it gets an alias.

A gate is *open* or *closed*. Two can also be *not shown*, which a person may override: the comparison with the present
version, and the audit where it found that the model uses a shortcut. Everything is read from the store: weights,
signature and validation predictions are artefacts of the version.
"""

import json
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import pandas as pd

from medtransfer.errors import TrackingError
from medtransfer.files import sha256_file
from medtransfer.tracking.columns import CALIBRATION
from medtransfer.tracking.refusals import is_full, refused

WEIGHTS, CONFIG, VALIDATION, CARD = "model.safetensors", "config.json", "validation.parquet", "README.md"
SHIFT = "shift.safetensors"
"""Statistics of the training images."""
OPTIONAL = (CALIBRATION, SHIFT)
"""A version that was registered without one has no such file and no tag with its hash."""
HASHES = {
    WEIGHTS: "sha256",
    CONFIG: "config_sha256",
    VALIDATION: "validation_sha256",
    CALIBRATION: "calibration_sha256",
    SHIFT: "shift_sha256",
}
"""File of a version → tag with its hash."""
PLACES = {WEIGHTS: "artifacts/", CONFIG: "artifacts/", CALIBRATION: "artifacts/"}
"""Folder of a file inside the model's artefacts; empty for the others."""
LEAKS, AUDIT, METRIC, NOT_AUDITED = "gate.leaks", "audit", "metric", "not audited"
IMAGES = "images"
"""Key of a model's metadata with the arrays that it takes, as MLflow writes a schema."""
CONFOUNDED = "confounded"
"""How the audit tag of a version begins that uses a shortcut."""

State = Literal["open", "closed", "not shown"]


@dataclass(frozen=True)
class Outcome:
    """What one gate says, and why."""

    gate: str
    state: State
    reason: str


Compare = Callable[[pd.DataFrame, pd.DataFrame, str], tuple[State, str]]
"""Candidate's and champion's predictions on validation images, and a metric → state of the gate and reason."""


def not_compared(candidate: pd.DataFrame, champion: pd.DataFrame, metric: str) -> tuple[State, str]:
    """Show nothing: for callers that have no comparison."""
    del candidate, champion
    return "not shown", f"{metric} was not compared"


def examine(store: Any, name: str, version: int, *, champion: int = 0, compare: Compare | None = None) -> list[Outcome]:
    """Return what every gate says about a version.

    Args:
        store: MLflow client.
        name: registered model.
        version: the version that wants the alias.
        champion: the version that has it; 0 = none, then only the absolute gates count.
        compare: the comparison with the champion; None = only the absolute gates count.

    Raises:
        TrackingError: there is no such version.
    """
    entry = read_version(store, name, version)
    outcomes = [_leaks(entry.tags), _audit(entry.tags), *_closed_tags(entry.tags), _files(store, entry)]
    if any(outcome.state == "closed" for outcome in outcomes):
        return outcomes
    present = _present(store, name, champion)
    outcomes.append(_signature(store, entry, present))
    if present is not None and compare is not None:
        outcomes.append(_comparison(store, entry, present, compare))
    return outcomes


def read_version(store: Any, name: str, version: int) -> Any:
    """Return a version of a registered model.

    Raises:
        TrackingError: there is none, or the store refuses.
    """
    with refused(store, f"{name}: there is no version {version}: register it first"):
        return store.get_model_version(name, str(version))


def download(store: Any, version: Any, file: str, folder: Path) -> Path:
    """Download one file of a version and return its path.

    Raises:
        TrackingError: it is not there, or cannot be reached.
    """
    from mlflow.artifacts import download_artifacts
    from mlflow.exceptions import MlflowException

    source = store.get_model_version_download_uri(version.name, version.version)
    address = f"{source}/{PLACES.get(file, '')}{file}"
    try:
        return Path(download_artifacts(artifact_uri=address, dst_path=str(folder), tracking_uri=store.tracking_uri))
    except (MlflowException, OSError) as error:
        if is_full(error):
            what = f"{file} of {version.name} version {version.version}"
            raise TrackingError(f"{folder}: no room left on its disk for {what}: make room, and repeat") from error
        raise TrackingError(
            f"{version.name} version {version.version}: {file} cannot be downloaded: if the project was moved, run "
            "medtransfer registry relink; else register the model again"
        ) from error


def listed(store: Any, version: Any) -> set[str]:
    """Return the names of a version's files at the top of its model.

    Raises:
        TrackingError: they cannot be listed.
    """
    from mlflow.artifacts import list_artifacts
    from mlflow.exceptions import MlflowException

    source = store.get_model_version_download_uri(version.name, version.version)
    try:
        found = list_artifacts(artifact_uri=source, tracking_uri=store.tracking_uri)
    except (MlflowException, OSError) as error:
        raise TrackingError(
            f"{version.name} version {version.version}: its files cannot be listed ({error}): look whether the "
            "tracking server and its store of artefacts answer"
        ) from error
    return {each.path.rpartition("/")[2] for each in found}


def served_files(tags: Mapping[str, str]) -> tuple[str, ...]:
    """Return the files with which a version with these tags answers."""
    return (WEIGHTS, CONFIG, *(file for file in OPTIONAL if HASHES[file] in tags))


def checked_download(store: Any, version: Any, file: str, folder: Path) -> Path:
    """Download one file of a version and compare it with the hash in the version's tags.

    Raises:
        TrackingError: it cannot be downloaded, or is not the file that was registered.
    """
    path = download(store, version, file, folder)
    if sha256_file(path) != version.tags.get(HASHES[file]):
        raise TrackingError(
            f"{version.name} version {version.version}: {file} is not the registered file (its SHA-256 differs): "
            "register the model again"
        )
    return path


def _leaks(tags: Mapping[str, str]) -> Outcome:
    found = tags.get(LEAKS, "")
    if found.startswith("open"):
        return Outcome("leaks", "open", found.partition(": ")[2] or "no leak was found")
    return Outcome("leaks", "closed", found or "nothing says that the leak gate was open: register the model again")


def _audit(tags: Mapping[str, str]) -> Outcome:
    """A model that uses a shortcut needs a reason to be promoted; other verdicts of an audit are only visible."""
    found = tags.get(AUDIT, NOT_AUDITED)
    if found.startswith(("closed", "failed")):
        return Outcome("audit", "closed", found)
    return Outcome("audit", "not shown" if found.startswith(CONFOUNDED) else "open", found)


def _closed_tags(tags: Mapping[str, str]) -> list[Outcome]:
    """Return gates that somebody else closed by a tag ``gate`` or ``gate.<name>``."""
    others = {key: value for key, value in tags.items() if key == "gate" or key.startswith("gate.")}
    closed = {key: value for key, value in others.items() if key != LEAKS and value.startswith(("closed", "failed"))}
    return [Outcome(key.removeprefix("gate.") or "gate", "closed", value) for key, value in closed.items()]


def _files(store: Any, version: Any) -> Outcome:
    """Weights, config and temperatures must be there, with the bytes that were registered."""
    with tempfile.TemporaryDirectory() as folder:
        for file in served_files(version.tags):
            try:
                checked_download(store, version, file, Path(folder))
            except TrackingError as error:
                return Outcome("weights", "closed", str(error))
    return Outcome("weights", "open", f"SHA-256 {version.tags[HASHES[WEIGHTS]][:12]}")


def _present(store: Any, name: str, champion: int) -> Any:
    return read_version(store, name, champion) if champion else None


def _signature(store: Any, version: Any, present: Any) -> Outcome:
    """Images must go in as before, and every column that came out before must still come out."""
    try:
        inputs, outputs = _signed(store, version)
        before = None if present is None else _signed(store, present)
    except (TrackingError, KeyError, TypeError, ValueError) as error:
        return Outcome("signature", "closed", f"it cannot be read ({error})")
    if before is None:
        return Outcome("signature", "open", f"{len(outputs)} columns")
    if before[0] != inputs:
        return Outcome("signature", "closed", f"takes {inputs}, version {present.version} takes {before[0]}")
    if lost := [column for column in before[1] if column not in outputs]:
        return Outcome("signature", "closed", f"lacks the column {lost[0]} of version {present.version}")
    return Outcome("signature", "open", f"that of version {present.version}")


def _signed(store: Any, version: Any) -> tuple[Any, list[str]]:
    import yaml

    with tempfile.TemporaryDirectory() as folder:
        text = download(store, version, "MLmodel", Path(folder)).read_text(encoding="utf-8")
    model = yaml.safe_load(text)
    signature = model["signature"]
    images = (model.get("metadata") or {}).get(IMAGES) or signature["inputs"]  # older versions have it there
    return json.loads(images), [column["name"] for column in json.loads(signature["outputs"])]


def _comparison(store: Any, version: Any, present: Any, compare: Compare) -> Outcome:
    """Ask whether the version is as good as the present one on the same validation images."""
    metric = version.tags.get(METRIC, "")
    if not metric or present.tags.get(METRIC) != metric:
        reason = f"chosen by {metric or 'an unknown metric'}, version {present.version} by {present.tags.get(METRIC)}"
        return Outcome("champion", "not shown", reason)
    with tempfile.TemporaryDirectory() as folder:
        try:
            tables = [
                pd.read_parquet(checked_download(store, each, VALIDATION, Path(folder, str(each.version))))
                for each in (version, present)
            ]
        except TrackingError as error:
            return Outcome("champion", "not shown", str(error))
    state, reason = compare(tables[0], tables[1], metric)
    return Outcome("champion", state, reason)
