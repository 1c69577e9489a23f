"""A configuration flattened to dotted paths, and its fingerprint."""

import hashlib
import json
from collections.abc import Mapping
from typing import Any

from medtransfer.config.base import Config


def flatten(config: Config | Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Return ``{dotted path: scalar or list}`` of a configuration, in declaration order."""
    tree = config.model_dump(mode="json") if isinstance(config, Config) else config
    flat: dict[str, Any] = {}
    for key, value in tree.items():
        path = f"{prefix}{key}"
        if isinstance(value, Mapping) and value:
            flat.update(flatten(value, f"{path}."))
        else:
            flat[path] = value
    return flat


def fingerprint(config: Config | Mapping[str, Any]) -> str:
    """Return 12 hexadecimal digits that change when any value of the configuration changes."""
    tree = config.model_dump(mode="json") if isinstance(config, Config) else config
    text = json.dumps(tree, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()[:12]
