"""Profiles: other values of params.yaml, each on top of the sample's or of another profile."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from medtransfer import paths
from medtransfer.errors import ConfigError
from medtransfer.params import read_tree

TARGETS = "repro"
"""Key of a profile that lists the stages to reproduce; it is not a parameter."""


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
