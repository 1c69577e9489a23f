"""Everything that can be known of parameters without computing: one line per fault, and what is not on this machine."""

import math
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

from medtransfer import paths
from medtransfer.config import Config
from medtransfer.data.sources import Scan
from medtransfer.errors import ConfigError, MedTransferError
from medtransfer.evaluation.metrics import METRICS
from medtransfer.models.classifier import require_structure
from medtransfer.models.structures import Structure
from medtransfer.models.weights import FileInit
from medtransfer.params import Params
from medtransfer.profiles import targets
from medtransfer.studies import STUDIES, module
from medtransfer.training.selection import SelectionConfig
from medtransfer.tuning.config import Objective, PruningConfig
from medtransfer.tuning.space import check_space


class Faults(NamedTuple):
    """What has to be corrected in the parameters, and what has to be brought here before the pipeline runs.

    Attributes:
        wrong: lines.
        absent: folder or file → the line about it.
    """

    wrong: list[str]
    absent: dict[Path, str]


def studies_of(root: Path, params: Params, profile: str) -> tuple[str, ...]:
    """Return the studies that parameters are made for.

    They are those whose stages the profile names. Without such a list they are those that read at least one data set
    of the parameters, because the gate leaves out a study that reads none; where no study does, all.
    """
    for place in (root, root.parent.parent):  # a workspace is below workspaces/ of its checkout
        if paths.is_plain(profile) and paths.profile_file(place, profile).is_file():
            named = {target.partition("@")[2] for target in targets(place, profile)}
            return tuple(study for study in STUDIES if study in named) or STUDIES
    able = (study for study in params.studies if not params.datasets.keys().isdisjoint(_reads(params, study)))
    return tuple(able) or STUDIES


def _reads(params: Params, study: str) -> Collection[str]:
    names: Collection[str] = module(study, "study").datasets(params.study(study))
    return names


def not_here(found: Faults) -> str:
    """Return the end of a sentence that names what is not on this machine yet; empty when all is here."""
    return f"; not here yet: {', '.join(map(str, found.absent))}" if found.absent else ""


def find_faults(params: Params, tree: Any, root: Path, studies: Sequence[str]) -> Faults:
    """Compare parameters with what exists: networks, data sets, classes, findings, files, searches.

    Args:
        params: validated parameters.
        tree: the mapping that they were validated from.
        root: folder that relative paths begin at.
        studies: those to look at; see ``studies_of``.
    """
    scans, found = dict[str, Scan](), Faults([], {})
    for name, dataset in params.datasets.items():
        place, where = root / dataset.source.root, f"datasets.{name}.source.root"
        if not place.is_dir():
            remedy = _bring(dataset.pointer, root)
            found.absent[dataset.source.root] = f"{where}: {dataset.source.root}: no such folder; {remedy}"
            continue
        try:
            scans[name] = dataset.source.model_copy(update={"root": place}).scan()
        except MedTransferError as error:
            found.wrong.append(f"datasets.{name}: {error}")
            continue
        if unknown := sorted(set(dataset.exclude) - {row["path"] for row in scans[name].rows}):
            found.wrong.append(f"datasets.{name}.exclude: {unknown[0]} is not an image of it; correct or remove it")
    for study in (study for study in studies if study in params.studies):
        config, read = params.study(study), _reads(params, study)
        for where, what in _walk(config, study):
            _look_for_data(where, what, read, params, scans, found)
            found.wrong.extend(_metrics(where, what))
            made_here = isinstance(what, FileInit) and what.path.is_relative_to(paths.OUT)  # by an earlier stage
            if isinstance(what, FileInit) and not made_here and not (root / what.path).exists():
                remedy = "put the weights there or correct the path"
                found.absent[what.path] = f"{where}.path: {what.path}: no such file; {remedy}"
        found.wrong.extend(dict.fromkeys(_networks(study, config)))
    for name, search in params.tuning.items():
        if search.study not in studies:
            continue
        found.wrong.extend(line for where, what in _walk(search, f"tuning.{name}") for line in _metrics(where, what))
        try:
            check_space(name, tree, search)
        except ConfigError as error:
            found.wrong.append(str(error))
    return Faults(list(dict.fromkeys(found.wrong)), found.absent)


def _bring(pointer: Path | None, root: Path) -> str:
    if pointer and (root / pointer).is_file():
        return f"dvc pull {pointer}"
    return "medtransfer data add copies a downloaded data set there; or correct the path"


def _walk(value: Any, where: str) -> Iterator[tuple[str, Config]]:
    """Yield every configuration below a value, with its dotted path."""
    if isinstance(value, Config):
        yield where, value
        for name in type(value).model_fields:
            yield from _walk(getattr(value, name), f"{where}.{name}")
    elif isinstance(value, dict | tuple):
        for key, each in value.items() if isinstance(value, dict) else enumerate(value):
            yield from _walk(each, f"{where}.{key}")


def _look_for_data(
    where: str, config: Config, read: Collection[str], params: Params, scans: Mapping[str, Scan], found: Faults
) -> None:
    """Note data sets, classes and findings that one configuration names and that do not exist."""
    dataset = getattr(config, "dataset", None) or getattr(getattr(config, "finetune", None), "dataset", None)
    for name in (getattr(config, "dataset", None), *getattr(config, "outside", ())):
        if name in read and name not in params.datasets:
            known = ", ".join(params.datasets)
            key = "dataset" if name == getattr(config, "dataset", None) else "outside"
            found.wrong.append(f"{where}.{key}: {name!r} is not a data set; there are {known}")
    if dataset is None or dataset not in scans:
        return
    scan, positive = scans[dataset], getattr(config, "positive", "")
    if positive and positive not in scan.classes:
        known = ", ".join(scan.classes) or "none"
        found.wrong.append(f"{where}.positive: {positive!r} is no class of data set {dataset!r}; there are {known}")
    findings = {name for row in scan.rows for name, value in row.items() if name.startswith("y_") and _known(value)}
    for finding in getattr(config, "findings", ()):
        if f"y_{finding}" not in findings:
            found.wrong.append(f"{where}.findings: {finding!r} is not labelled in data set {dataset!r}")


def _metrics(where: str, config: Config) -> Iterator[str]:
    """Yield the metrics that a selection, an objective or pruning names and no validation computes."""
    if not isinstance(config, SelectionConfig | Objective | PruningConfig):
        return
    for key in ("metric", "tie"):
        name = getattr(config, key, None)
        group, _, measure = (name or "").partition("/")
        if name and (group != "val" or not any(f"{measure}_".startswith(f"{known}_") for known in METRICS)):
            known = ", ".join(METRICS)
            yield f"{where}.{key}: {name!r} is no metric, expected val/ and one of {known}, for one class with _CLASS"


def _known(value: Any) -> bool:
    return not (isinstance(value, float) and math.isnan(value))


def _networks(study: str, config: Any) -> Iterator[str]:
    """Build every network that a study fine-tunes, without weights: its backbone, cut and sites exist."""
    wiring = module(study, "study")
    named: list[Callable[[str], Structure]] = [
        getattr(config, name) for name in ("structure", "network") if hasattr(config, name)
    ]
    if not named:
        return  # its parameters do not describe networks by name
    variants: Collection[str] = wiring.variants(config, list(wiring.PHASES)[-1])
    for variant in variants:
        try:
            structure = named[0](variant)
            _require(type(structure), structure.model_dump_json())
        except (MedTransferError, ValueError) as error:
            yield f"{study}: variant {variant!r}: {error}"


@cache
def _require(kind: type[Structure], settings: str) -> None:
    """Refuse a network that cannot be built; profiles share most of theirs, so each is built once."""
    require_structure(kind.model_validate_json(settings))
