"""The typed params.yaml, assembled from the configuration classes of all rooms; nothing else is configurable."""

import difflib
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

import yaml
from pydantic import Field, ValidationError, create_model

from medtransfer import paths
from medtransfer.config import Config, Name
from medtransfer.data.leaks import GateConfig
from medtransfer.data.packed import PackConfig
from medtransfer.data.sources import SourceConfig
from medtransfer.data.splits import SplitConfig
from medtransfer.errors import ConfigError
from medtransfer.evaluation.cells import EvaluationConfig
from medtransfer.studies import STUDIES, module
from medtransfer.training.engine import HardwareConfig
from medtransfer.tuning.config import SearchConfig

KEY = "[key]"
"""Marks, in the location of a validation error, that the error is about a key and not about its value."""


class DatasetConfig(Config):
    """One data set: where its raw files are, and how they are split and packed."""

    source: SourceConfig
    pointer: Path | None = Path("data.dvc")
    """DVC pointer of the raw files, for lineage; null where DVC does not version them."""
    split: SplitConfig = SplitConfig()
    pack: PackConfig
    exclude: tuple[str, ...] = ()
    """Paths of images to leave out, relative to the source's root: copies that the leak gate found."""
    phantoms: bool = False
    """Drawn images, not patients: the report says so at the top."""


class RegistryConfig(Config):
    """Which alias the best fine-tuned network of each registered model gets."""

    alias: Name = "champion"


class Params(Config):
    """Every parameter of every stage; :func:`params_model` adds a section for each study, under its name.

    A study without a section is not part of the workspace.
    """

    profile: str
    hardware: HardwareConfig
    datasets: dict[Name, DatasetConfig]
    gate: GateConfig
    evaluation: EvaluationConfig
    registry: RegistryConfig
    tuning: dict[Name, SearchConfig] = Field(default_factory=dict)
    """Searches over the values of all other sections; only ``medtransfer tune`` runs them."""

    def search(self, name: str) -> SearchConfig:
        """Return a search.

        Raises:
            ConfigError: there is no such search.
        """
        if name not in self.tuning:
            raise ConfigError(
                f"tuning.{name}: no search in {paths.PARAMS}; there are {', '.join(self.tuning) or 'none'}"
            )
        return self.tuning[name]

    def study(self, name: str) -> Any:
        """Return the parameters of a study.

        Raises:
            ConfigError: there is no section of it.
        """
        section = getattr(self, name)
        if section is None:
            raise ConfigError(f"{name}: no section in {paths.PARAMS}; there are {', '.join(self.studies) or 'none'}")
        return section

    @property
    def studies(self) -> tuple[str, ...]:
        """The studies that have a section."""
        return tuple(name for name in STUDIES if getattr(self, name) is not None)

    def dataset(self, name: str) -> DatasetConfig:
        """Return the settings of a data set.

        Raises:
            ConfigError: there is no such data set.
        """
        if name not in self.datasets:
            raise ConfigError(
                f"datasets.{name}: not a data set in {paths.PARAMS}; there are {', '.join(self.datasets)}"
            )
        return self.datasets[name]

    @property
    def pointers(self) -> dict[str, Path]:
        """DVC pointer of every data set's raw files."""
        return {name: dataset.pointer for name, dataset in self.datasets.items() if dataset.pointer}


@cache
def params_model() -> type[Params]:
    """Return ``Params`` with a section for every study: ``CONFIG`` of its module ``config``."""
    sections: dict[str, Any] = {name: (module(name, "config").CONFIG | None, None) for name in STUDIES}
    return create_model("Params", __base__=Params, **sections)


def load_params(path: Path | None = None) -> Params:
    """Read and validate params.yaml.

    Raises:
        ConfigError: the file is missing or not YAML, or a key is missing, unknown or invalid; the message names each.
    """
    return parse_params(read_tree(path or paths.workspace() / paths.PARAMS))


def read_tree(path: Path) -> dict[str, Any]:
    """Read a YAML file whose top level is a mapping."""
    if not path.exists():
        raise ConfigError(f"{path.name}: not found in {path.parent.name or '.'}; run this in a workspace that has one")
    try:
        tree = yaml.safe_load(path.read_text(encoding="utf-8"))
    except yaml.YAMLError as error:
        raise ConfigError(
            f"{path.name}: not valid YAML ({str(error).splitlines()[-1].strip()}); fix the file"
        ) from error
    if not isinstance(tree, dict):
        raise ConfigError(f"{path.name}: expected a mapping at the top level")
    return tree


def parse_params(tree: Mapping[str, Any]) -> Params:
    """Validate a nested mapping; see ``load_params``."""
    try:
        return params_model().model_validate(tree)
    except ValidationError as error:
        raise ConfigError("; ".join(_explain(tree, entry) for entry in error.errors())) from error


def _explain(tree: Mapping[str, Any], entry: Any) -> str:
    """Turn one validation error into 'dotted.path: what is wrong'."""
    location = [_printable(str(part)) for part in entry["loc"] if part != KEY]
    path = f"{paths.PARAMS}: {'.'.join(location)}"
    if entry["type"] == "missing":
        return f"{path}: missing; add it"
    if entry["type"] == "extra_forbidden":
        close = difflib.get_close_matches(location[-1], _field_names(params_model()), n=2)
        return f"{path}: unknown key" + (f"; did you mean {' or '.join(close)}?" if close else "; remove it")
    return f"{path}: {entry['msg'].removeprefix('Value error, ')} (found {entry['input']!r})"


def _printable(part: str) -> str:
    """Return a key unchanged, or escaped if it would break the line."""
    return part if part.isprintable() else repr(part)[1:-1]


def _field_names(model: Any) -> set[str]:
    """Return all field names of a model and of the models below it."""
    names: set[str] = set()
    schema = model.model_json_schema()
    for part in (schema, *schema.get("$defs", {}).values()):
        names |= set(part.get("properties", ()))
    return names
