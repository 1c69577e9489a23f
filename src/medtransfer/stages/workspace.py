"""``medtransfer workspace NAME``: make a separate folder for another profile, or for a question about own data.

The workspace is a separate DVC project below ``workspaces/``. With ``--profile`` its params.yaml is the sample's with
the profile applied and its pipeline is the same; with ``--data`` both hold only what the question needs. Paths lead to
the code and raw data of this checkout. The sample's files do not change.
"""

import os
import subprocess
import sys
from argparse import Namespace
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

from medtransfer import paths
from medtransfer.errors import ConfigError, DataError
from medtransfer.files import new_folder, write_text
from medtransfer.params import parse_params
from medtransfer.profiles import targets, with_profile
from medtransfer.stages.faults import find_faults, not_here, studies_of
from medtransfer.studies import STUDIES

UP = "../.."


def run(options: Namespace) -> None:
    """Make the workspace atomically, and print the next command."""
    root = paths.workspace()
    target = paths.workspace_folder(root, options.name)
    if os.path.lexists(target):
        raise ConfigError(
            f"workspaces/{options.name}: exists already; choose another name or continue there with dvc repro"
        )
    params, pipeline, goals, said = _of_profile(root, options) if options.profile else _of_question(root, options)
    with new_folder(target) as folder:
        write_text(folder / paths.PARAMS, params)
        write_text(folder / "dvc.yaml", pipeline.replace("src/medtransfer", f"{UP}/src/medtransfer"))
        write_text(folder / ".dvcignore", "__pycache__/\n")
        for command in (
            ["init", "--no-scm", "-q"],
            ["config", "core.analytics", "false"],
            ["config", "cache.type", "hardlink,copy"],
        ):
            _dvc(command, folder)
    repro = " ".join(("dvc repro", *goals))
    print(f"made workspaces/{options.name}{said}; next: cd workspaces/{options.name} && {repro}")  # noqa: T201


def _of_profile(root: Path, options: Namespace) -> tuple[str, str, list[str], str]:
    """Return parameters and pipeline of a profile, what to reproduce, and what is not here yet, in words."""
    tree = with_profile(root, options.profile)
    params = parse_params(tree)
    found = find_faults(params, tree, root, studies_of(root, params, options.profile))
    if found.wrong:
        raise ConfigError("\n".join(f"{paths.PROFILES}/{options.profile}.yaml: {line}" for line in found.wrong))
    _point_up(tree)
    text = yaml.safe_dump(tree, sort_keys=False, allow_unicode=True)
    return text, (root / "dvc.yaml").read_text(encoding="utf-8"), targets(root, options.profile), not_here(found)


def _of_question(root: Path, options: Namespace) -> tuple[str, str, list[str], str]:
    """Check every input, and return parameters and pipeline with only what the question needs."""
    from medtransfer.comparing.workspace import STUDY, params_text, params_tree, pipeline
    from medtransfer.stages.own_data import wanted

    asked = wanted(options)
    tree = params_tree(asked)
    parse_params(tree)
    _point_up(tree)
    stages = yaml.safe_load((root / "dvc.yaml").read_text(encoding="utf-8"))
    stages["stages"] = pipeline(stages["stages"], tree, STUDIES)
    text = params_text(tree, asked.question)
    goals = [f"report@{STUDY}", f"register@{STUDY}"]
    return text, yaml.safe_dump(stages, sort_keys=False, allow_unicode=True, width=200), goals, ""


def _point_up(tree: dict[str, Any]) -> None:
    """Make relative paths to raw data and weights start at the checkout, two folders above the workspace."""
    for dataset in tree["datasets"].values():
        for place in (dataset["source"], dataset):
            for key in ("root", "pointer"):
                if place.get(key) and not Path(place[key]).is_absolute():
                    place[key] = f"{UP}/{place[key]}"
    # a section that YAML names twice (an alias) is one mapping in memory, and moves once
    for start in {id(start): start for start in _ready_made(tree)}.values():
        # what an earlier stage writes is in the workspace itself
        if not Path(start["path"]).is_absolute() and not Path(start["path"]).is_relative_to(paths.OUT):
            start["path"] = f"{UP}/{start['path']}"


def _ready_made(tree: Any) -> Iterator[dict[str, Any]]:
    """Yield every section of the parameters that takes ready-made weights from a file."""
    if isinstance(tree, dict):
        if tree.get("kind") == "file" and "path" in tree:
            yield tree
        for value in tree.values():
            yield from _ready_made(value)


def _dvc(arguments: list[str], folder: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "dvc", *arguments], cwd=folder, capture_output=True, text=True, check=False
    )
    if done.returncode:
        message = (done.stderr.strip().splitlines() or ["no message"])[-1]
        raise DataError(f"workspace {folder.name}: dvc {' '.join(arguments)} failed ({message}); fix it and try again")
