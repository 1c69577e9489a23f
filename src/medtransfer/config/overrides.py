"""Dotted views of a configuration: flatten, override, fingerprint."""

import difflib
import hashlib
import json
from collections.abc import Mapping
from typing import Any, TypeVar

from medtransfer.config.base import Config
from medtransfer.errors import ConfigError

C = TypeVar("C", bound=Config)


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


def override_tree(tree: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    """Return a copy of a nested mapping with dotted paths replaced.

    Raises:
        ConfigError: a path does not exist; the message names the nearest ones that do.
    """
    result: dict[str, Any] = json.loads(json.dumps(tree))
    for path, value in changes.items():
        node: Any = result
        *parents, last = path.split(".")
        for part in parents:
            node = node.get(part) if isinstance(node, dict) else None
        if not isinstance(node, dict) or last not in node:
            close = difflib.get_close_matches(path, list(flatten(tree)), n=3)
            hint = f"; did you mean {', '.join(close)}?" if close else ""
            raise ConfigError(f"{path}: no such parameter{hint}")
        node[last] = value
    return result


def override(config: C, changes: Mapping[str, Any]) -> C:
    """Return the configuration with dotted paths replaced and everything validated again."""
    tree = override_tree(config.model_dump(mode="json"), changes)
    return type(config).model_validate(tree)


def fingerprint(config: Config | Mapping[str, Any]) -> str:
    """Return 12 hexadecimal digits that change when any value of the configuration changes."""
    tree = config.model_dump(mode="json") if isinstance(config, Config) else config
    text = json.dumps(tree, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()[:12]
