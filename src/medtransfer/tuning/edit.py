"""Values changed in the text of a YAML file where the parser says that they are; every other character stays.

A library that reads and writes the file as a whole (ruamel.yaml was tried) also rewrites lines that nobody changed,
such as ``null`` and lists of one mapping, and writes 1e-05, which PyYAML reads as text.
"""

import re
from typing import Any

import yaml

from medtransfer.errors import ConfigError
from medtransfer.tuning.notes import PATTERN, Note
from medtransfer.tuning.space import Values, lay_over, look_up, split_key


def with_values(text: str, values: Values, note: Note) -> str:
    """Return the text of a YAML file with other values, each line that changes marked with a note at its end.

    Args:
        text: the file; its top level is a mapping.
        values: dotted key → value. A key that the file lacks is added to the mapping that it belongs to.
        note: says where the values come from; it replaces the note of an earlier adoption.

    Raises:
        ConfigError: the text would not say what it should.
    """
    wanted = lay_over(yaml.safe_load(text), values)
    for key, value in values.items():
        if look_up(yaml.safe_load(text), key) != value:
            text = _with_value(text, key, value, note)
    if yaml.safe_load(text) != wanted:
        raise ConfigError("params.yaml: the values cannot be written without changing others; write them by hand")
    return text


def _with_value(text: str, key: str, value: Any, note: Note) -> str:
    mapping, parts = yaml.compose(text, Loader=yaml.SafeLoader), split_key(yaml.safe_load(text), key)
    while True:
        node = next((node for name, node in mapping.value if name.value == parts[0]), None)
        if node is None:
            break
        if len(parts) == 1:
            return _replaced(text, node, value, note)
        mapping, parts = node, parts[1:]
    for part in reversed(parts[1:]):
        value = {part: value}
    return _added(text, mapping, parts[0], value, note)


def _replaced(text: str, node: Any, value: Any, note: Note) -> str:
    begin, end = node.start_mark.index, node.end_mark.index
    written = _flow(value)
    if isinstance(node, yaml.CollectionNode) and not node.flow_style:
        end = _line_end(text, _last(node).end_mark.index)
        if isinstance(node, yaml.SequenceNode) and isinstance(value, list):
            written = f"\n{' ' * node.start_mark.column}".join(_items(text, node, value))
    return _noted(text[:begin] + written + text[end:], begin + len(written), note)


def _items(text: str, node: Any, values: list[Any]) -> list[str]:
    """Return the lines of a list; items that stay keep theirs, with their comments."""
    known = []
    for item in node.value:
        begin, end = item.start_mark.index, item.end_mark.index
        known.append((yaml.safe_load(text[begin:end]), text[begin : _line_end(text, end)]))
    lines = [next((line for value, line in known if value == wanted), _flow(wanted)) for wanted in values]
    return [f"- {line}" for line in lines] or ["[]"]


def _last(node: Any) -> Any:
    """Return the last scalar or flow collection in a block: the end mark of a block is behind the comments after it."""
    while isinstance(node, yaml.CollectionNode) and not node.flow_style and node.value:
        node = node.value[-1][1] if isinstance(node, yaml.MappingNode) else node.value[-1]
    return node


def _added(text: str, mapping: Any, key: str, value: Any, note: Note) -> str:
    entry = f"{key}: {_flow(value)}"
    if mapping.flow_style:
        at = mapping.value[-1][1].end_mark.index if mapping.value else mapping.start_mark.index + 1
        entry = f", {entry}" if mapping.value else entry
    else:
        at = _line_end(text, _last(mapping).end_mark.index)
        entry = f"\n{' ' * mapping.start_mark.column}{entry}"
    return _noted(text[:at] + entry + text[at:], at + len(entry), note)


def _noted(text: str, at: int, note: Note) -> str:
    """Return the text with the note in the comment at the end of the line that holds a position behind a value."""
    end = _line_end(text, at)
    begin = text.rfind("\n", 0, at) + 1
    line = text[begin:end].rstrip()
    if PATTERN.search(line):
        line = PATTERN.sub(note.text, line)
    else:
        line += f"; {note.text}" if re.search(r"\s#", line) else f"  # {note.text}"
    return text[:begin] + line + text[end:]


def _line_end(text: str, at: int) -> int:
    end = text.find("\n", at)
    return len(text) if end < 0 else end


def _flow(value: Any) -> str:
    """Return a value as YAML on one line, which PyYAML reads back as it was."""
    written: str = yaml.safe_dump(value, default_flow_style=True, width=10**6, allow_unicode=True)
    return written.removesuffix("...\n").strip()
