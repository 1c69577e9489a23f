"""audit.json: a list of audits, one per model and set of images; what a promotion gate reads."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from medtransfer.audit.cases import Cases
from medtransfer.audit.verdicts import Half
from medtransfer.errors import DataError
from medtransfer.files import read_json, write_json

FORMAT = "medtransfer-audit-1"
GRAVITY = ("no sign", "cannot tell", "suspicious", "confounded")
"""Verdicts by how much they say against a model."""


def audit_entry(
    data: Half,
    model: Half,
    cases: Cases,
    *,
    name: str,
    weights: str | None,
    dataset: str,
    positive: str,
    left_out: int,
) -> dict[str, Any]:
    """Return one entry.

    Args:
        data: what the data offers.
        model: what the model uses.
        cases: the images.
        name: address of the model, or the file of its predictions.
        weights: SHA-256 of model.safetensors, by which a gate finds a version; ``None`` with predictions alone.
        dataset: name of the images.
        positive: class or finding of the question.
        left_out: images that could not be read or have no label.
    """
    return {
        "name": name,
        "weights": weights,
        "dataset": dataset,
        "positive": positive,
        "images": len(cases),
        "patients": len(set(cases.patients)),
        "positives": int(cases.target.sum()),
        "left_out": left_out,
        "data": data.plain(),
        "model": model.plain(),
    }


def audit_tag(entry: dict[str, Any]) -> str:
    """Return an entry in one line, the model's verdict first: what a registered version carries and a gate reads."""
    model, data = entry["model"], entry["data"]
    return (
        f"{model['verdict']}: {model['reason']} (on {entry['images']} images of {entry['dataset']}; the data: "
        f"{data['verdict']})"
    )


def gravest(entries: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Return the entry whose model half says most against the model: an alarm, else what cannot be told."""
    return max(entries, key=lambda entry: GRAVITY.index(entry["model"]["verdict"]))


def write_audits(file: Path, entries: Sequence[dict[str, Any]]) -> None:
    """Write audits as the only content of a file."""
    write_json(file, {"format": FORMAT, "audits": list(entries)})


def add_audit(file: Path, entry: dict[str, Any]) -> None:
    """Add an entry to the file, in the place of an earlier audit of the same model on the same images.

    Raises:
        DataError: the file exists and holds something else.
    """
    audits = [one for one in read_audits(file) if _key(one) != _key(entry)] if file.exists() else []
    write_audits(file, [*audits, entry])


def read_audits(file: Path) -> list[dict[str, Any]]:
    """Return the entries of a file.

    Raises:
        DataError: the file is absent or holds something else.
    """
    try:
        content = read_json(file)
        if content["format"] != FORMAT:
            raise ValueError(content["format"])
        audits: list[dict[str, Any]] = content["audits"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise DataError(f"{file}: not the {FORMAT} of an audit; move it, or give another --out") from error
    return audits


def _key(entry: dict[str, Any]) -> tuple[Any, ...]:
    return entry["name"], entry["weights"], entry["dataset"], entry["positive"]
