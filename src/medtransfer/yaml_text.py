"""YAML that a user wrote, as DVC reads it (YAML 1.2: ``yes`` and ``no`` are text); faults are named by line and column.

What would win silently, hang or exhaust the stack is refused: keys that occur twice, aliases that multiply, deep
nesting.
"""

import re
from functools import cache
from pathlib import Path
from typing import Any

import yaml

from medtransfer.errors import ConfigError

DEEPEST = 50
MOST_VALUES = 100_000
"""With every alias written out."""
_BOOL = "tag:yaml.org,2002:bool"
_MERGE = "tag:yaml.org,2002:merge"


def read_yaml(path: Path) -> Any:
    """Read a YAML file.

    Raises:
        ConfigError: it is not UTF-8 or not YAML, or is refused (see the module).
    """
    content = path.read_bytes()
    try:
        return parse_yaml(content.decode("utf-8-sig"), path.name)
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise ConfigError(f"{path.name}: line {line} is not UTF-8 text; save the file as UTF-8") from error


def parse_yaml(text: str, where: str, *, as_text: bool = False) -> Any:
    """Return the value of a YAML text.

    Args:
        text: the YAML text.
        where: what it is, for messages.
        as_text: leave every scalar the text that it is written as.

    Raises:
        ConfigError: see ``read_yaml``.
    """
    try:
        loader = _loader(as_text=as_text)(text)
    except yaml.reader.ReaderError as error:
        line = text.count("\n", 0, error.position) + 1
        raise ConfigError(f"{where}: not valid YAML (line {line} holds a control character); remove it") from error
    try:
        loader.sizes = {}
        return loader.get_single_data()
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        at = f"line {mark.line + 1}, column {mark.column + 1}: " if mark else ""
        raise ConfigError(f"{where}: not valid YAML ({at}{error.problem or error.context}); fix it") from error
    finally:
        loader.dispose()


class _Strict(yaml.SafeLoader):  # type: ignore[misc]  # PyYAML ships no types
    """Refuses, while it reads, what the module's docstring names."""

    depth = 0
    sizes: dict[int, tuple[int, int]]

    def compose_node(self: Any, parent: Any, index: Any) -> Any:
        event = self.peek_event()
        self.depth += 1
        if self.depth > DEEPEST:
            self.refuse(event, f"nested more than {DEEPEST} levels deep")
        node = super().compose_node(parent, index)
        self.depth -= 1
        if isinstance(event, yaml.AliasEvent) and id(node) not in self.sizes:
            self.refuse(event, "an alias of what it is in")
        self.measure(event, node)
        return node

    def measure(self: Any, event: Any, node: Any) -> None:
        """Note how many values a node stands for and how deep it is, with every alias written out."""
        inner = [each for pair in node.value for each in pair] if isinstance(node, yaml.MappingNode) else node.value
        inner = inner if isinstance(node, yaml.CollectionNode) else []
        sizes = [self.sizes[id(each)] for each in inner]
        self.sizes[id(node)] = count, depth = (
            1 + sum(s for s, _ in sizes),
            1 + max((d for _, d in sizes), default=0),
        )
        if count > MOST_VALUES or depth > DEEPEST:
            self.refuse(event, f"aliases stand for more than {MOST_VALUES} values or {DEEPEST} levels")

    def compose_mapping_node(self: Any, anchor: Any) -> Any:
        node = super().compose_mapping_node(anchor)
        seen = set()
        for key, _ in node.value:
            name = (key.tag, key.value) if isinstance(key, yaml.ScalarNode) else id(key)
            if name in seen and key.tag != _MERGE:
                raise yaml.MarkedYAMLError(
                    problem=f"the key {key.value!r} occurs twice; remove one", problem_mark=key.start_mark
                )
            seen.add(name)
        return node

    def construct_object(self: Any, node: Any, deep: bool = False) -> Any:
        try:
            return super().construct_object(node, deep)
        except (ValueError, OverflowError) as error:
            reason = str(error).partition(";")[0]
            raise yaml.MarkedYAMLError(problem=reason, problem_mark=node.start_mark) from error

    @staticmethod
    def refuse(event: Any, problem: str) -> None:
        raise yaml.MarkedYAMLError(problem=problem, problem_mark=event.start_mark)


@cache
def _loader(*, as_text: bool) -> Any:
    loader: Any = type("Loader", (_Strict,), {})
    bools = re.compile(r"(?:true|True|TRUE|false|False|FALSE)\Z")
    resolvers = {
        first: [(tag, regexp) for tag, regexp in known if tag != _BOOL]
        for first, known in yaml.SafeLoader.yaml_implicit_resolvers.items()
    }
    resolvers |= {first: [*resolvers.get(first, []), (_BOOL, bools)] for first in "tTfF"}
    loader.yaml_implicit_resolvers = {} if as_text else resolvers
    return loader
