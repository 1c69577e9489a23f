"""What was adopted from a search and what its confirmation found: two small files beside the search's result."""

from typing import TypeVar

from medtransfer import paths
from medtransfer.config import Config
from medtransfer.errors import DataError
from medtransfer.files import read_json, write_json
from medtransfer.tuning.space import Values

ADOPTED, CONFIRMED = "adopted.json", "confirmed.json"
Record = TypeVar("Record", "Adoption", "Confirmation")


class Adoption(Config):
    """What was adopted, and what was there before.

    Attributes:
        search: its name.
        trial: its number.
        trials: how many trials of the search ended before.
        values: dotted key → adopted value.
        former: dotted key → value before; a key that was absent is not here.
    """

    search: str
    trial: int
    trials: int
    values: Values
    former: Values


class Confirmation(Config):
    """Adopted − former values on new seeds.

    Attributes:
        search: its name.
        trial: number of the adopted trial.
        trials: how many trials it was chosen from.
        metric: of test rows.
        seeds: of the fits, none of which a trial or the study has used.
        points: arm → the metric of every seed.
        gain: mean over the seeds of adopted − former.
        low: lower end of its 95 % interval over patients and seeds.
        high: upper end.
        verdict: ``gain``, ``loss`` or ``no gain``, with the reason.
        reason: why.
        images: test images.
        patients: test patients.
    """

    search: str
    trial: int
    trials: int
    metric: str
    seeds: tuple[int, ...]
    points: dict[str, tuple[float, ...]]
    gain: float | None
    low: float | None
    high: float | None
    verdict: str
    reason: str
    images: int
    patients: int


def read_adoption(name: str) -> Adoption | None:
    """Return what was adopted from a search; None when nothing was.

    Raises:
        DataError: the file is damaged.
    """
    return _read(name, ADOPTED, Adoption)


def read_confirmation(name: str) -> Confirmation | None:
    """Return the confirmation of a search's adopted values; None when there is none.

    Raises:
        DataError: the file is damaged.
    """
    return _read(name, CONFIRMED, Confirmation)


def write_record(record: Adoption | Confirmation) -> None:
    """Write a record beside the result of its search."""
    file = ADOPTED if isinstance(record, Adoption) else CONFIRMED
    write_json(paths.workspace() / paths.tuning(record.search) / file, record.model_dump(mode="json"))


def _read(name: str, file: str, kind: type[Record]) -> Record | None:
    path = paths.workspace() / paths.tuning(name) / file
    if not path.exists():
        return None
    try:
        return kind.model_validate(read_json(path))
    except ValueError as error:
        verb = "adopt" if kind is Adoption else "confirm"
        raise DataError(f"{path.name} of search {name}: damaged; run: medtransfer {verb} {name}") from error
