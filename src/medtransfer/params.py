"""The typed params.yaml, assembled from the configuration classes of all rooms; nothing else is configurable."""

from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

from pydantic import Field, ValidationError, create_model

from medtransfer import paths
from medtransfer.config import Config, Name
from medtransfer.config.faults import explain
from medtransfer.data.leaks import GateConfig
from medtransfer.data.packed import PackConfig
from medtransfer.data.sources import SourceConfig
from medtransfer.data.splits import SplitConfig
from medtransfer.errors import ConfigError
from medtransfer.evaluation.cells import EvaluationConfig
from medtransfer.studies import STUDIES, module
from medtransfer.training.engine import HardwareConfig
from medtransfer.tuning.config import SearchConfig
from medtransfer.yaml_text import read_yaml


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
    tree = read_yaml(path)
    if not isinstance(tree, dict):
        raise ConfigError(f"{path.name}: expected a mapping at the top level")
    return tree


def parse_params(tree: Mapping[str, Any]) -> Params:
    """Validate a nested mapping; see ``load_params``. The message has one line per fault."""
    try:
        return params_model().model_validate(tree)
    except ValidationError as error:
        lines = explain(error, _field_names)
        raise ConfigError("\n".join(f"{paths.PARAMS}: {line}" for line in lines)) from error


@cache
def _field_names() -> frozenset[str]:
    """Return all field names of the parameters."""
    schema = params_model().model_json_schema()
    parts = (schema, *schema.get("$defs", {}).values())
    return frozenset(name for part in parts for name in part.get("properties", ()))
