"""``medtransfer workspace NAME --profile P``: make a separate folder for another profile or other data.

The workspace is a separate DVC project below ``workspaces/``: its params.yaml is the sample's with the profile applied,
its pipeline is the same with paths to the code and raw data of this checkout. The sample's files do not change.
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
from medtransfer.params import parse_params, read_tree

UP = "../.."
TARGETS = "repro"
"""Key of a profile that lists the stages to reproduce; it is not a parameter."""


def run(options: Namespace) -> None:
    """Make the workspace atomically, and print the next command."""
    root = paths.workspace()
    target = paths.workspace_folder(root, options.name)
    if os.path.lexists(target):
        raise ConfigError(
            f"workspaces/{options.name}: exists already; choose another name or continue there with dvc repro"
        )
    tree = with_profile(root, options.profile)
    parse_params(tree)
    _point_up(tree)
    pipeline = (root / "dvc.yaml").read_text(encoding="utf-8").replace("src/medtransfer", f"{UP}/src/medtransfer")
    with new_folder(target) as folder:
        write_text(folder / paths.PARAMS, yaml.safe_dump(tree, sort_keys=False, allow_unicode=True))
        write_text(folder / "dvc.yaml", pipeline)
        write_text(folder / ".dvcignore", "__pycache__/\n")
        for command in (
            ["init", "--no-scm", "-q"],
            ["config", "core.analytics", "false"],
            ["config", "cache.type", "hardlink,copy"],
        ):
            _dvc(command, folder)
    repro = " ".join(("dvc repro", *targets(root, options.profile)))
    print(f"made workspaces/{options.name}; next: cd workspaces/{options.name} && {repro}")  # noqa: T201


def _point_up(tree: dict[str, Any]) -> None:
    """Make relative paths to raw data and weights start at the checkout, two folders above the workspace."""
    for dataset in tree["datasets"].values():
        for place in (dataset["source"], dataset):
            for key in ("root", "pointer"):
                if key in place and not Path(place[key]).is_absolute():
                    place[key] = f"{UP}/{place[key]}"
    for start in _ready_made(tree):
        if not Path(start["path"]).is_absolute():
            start["path"] = f"{UP}/{start['path']}"


def _ready_made(tree: Any) -> Iterator[dict[str, Any]]:
    """Yield every section of the parameters that takes ready-made weights from a file."""
    if isinstance(tree, dict):
        if tree.get("kind") == "file" and "path" in tree:
            yield tree
        for value in tree.values():
            yield from _ready_made(value)


def with_profile(root: Path, profile: str) -> dict[str, Any]:
    """Return the sample's parameters with a profile's values on top; lists and scalars are replaced as a whole.

    A profile that names another one as ``base`` is applied on top of it.

    Raises:
        ConfigError: a profile does not exist, its name is not plain, or profiles name each other as base.
    """
    layers = list(_with_bases(root, profile, ()))
    tree = read_tree(root / paths.PARAMS)
    for layer in layers:
        tree = overlay(tree, {key: value for key, value in layer.items() if key != TARGETS})
    return tree | {"profile": profile}


def targets(root: Path, profile: str) -> list[str]:
    """Return the stages that a profile is made for, from its key ``repro`` or its base's; empty means all."""
    layers = list(_with_bases(root, profile, ()))
    stages: list[str] = next((layer[TARGETS] for layer in reversed(layers) if TARGETS in layer), [])
    return stages


def _with_bases(root: Path, profile: str, above: tuple[str, ...]) -> Iterator[dict[str, Any]]:
    """Yield the values of a profile after those of its bases."""
    file = paths.profile_file(root, profile)
    if not file.exists():
        known = ", ".join(sorted(p.stem for p in (root / paths.PROFILES).glob("*.yaml")))
        raise ConfigError(f"profile {profile!r}: there is no such file in profiles/; choose one of {known}")
    if profile in above:
        raise ConfigError(f"profile {profile!r}: its base is {above[-1]!r}, which builds on it; remove one of the two")
    values = read_tree(file)
    base = values.pop("base", None)
    if base is not None:
        yield from _with_bases(root, str(base), (*above, profile))
    yield values


def overlay(base: dict[str, Any], top: dict[str, Any]) -> dict[str, Any]:
    """Merge ``top`` into ``base``; ``null`` removes a mapping, and another ``name`` or ``kind`` replaces it whole."""
    merged = dict(base)
    for key, value in top.items():
        old = base.get(key)
        if isinstance(old, dict) and value is None:
            del merged[key]
        elif isinstance(old, dict) and isinstance(value, dict) and _same_kind(old, value):
            merged[key] = overlay(old, value)
        else:
            merged[key] = value
    return merged


def _same_kind(old: dict[str, Any], new: dict[str, Any]) -> bool:
    return all(new.get(key, old.get(key)) == old.get(key) for key in ("name", "kind"))


def _dvc(arguments: list[str], folder: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "dvc", *arguments], cwd=folder, capture_output=True, text=True, check=False
    )
    if done.returncode:
        message = (done.stderr.strip().splitlines() or ["no message"])[-1]
        raise DataError(f"workspace {folder.name}: dvc {' '.join(arguments)} failed ({message}); fix it and try again")
