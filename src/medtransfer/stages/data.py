"""``medtransfer data add|phantom``: add a real data set, or draw the embedded sample."""

from argparse import Namespace
from pathlib import Path
from typing import Any, get_args

from pydantic import TypeAdapter, ValidationError

from medtransfer import paths
from medtransfer.config.faults import explain
from medtransfer.errors import ConfigError, DataError
from medtransfer.training.progress import console
from medtransfer.yaml_text import parse_yaml


def run(options: Namespace) -> None:
    """Dispatch the action."""
    if options.action == "phantom":
        _draw(options.to)
    else:
        _add(options)


def _draw(target: Path) -> None:
    from medtransfer.data.phantom.sample import SampleConfig, write_sample

    counts = write_sample(target, SampleConfig())
    console.print(", ".join(f"{name} {count}" for name, count in counts.items()))


def _add(options: Namespace) -> None:
    """Copy the data set, read every image once, report, and let DVC version the copy."""
    from medtransfer.data.add import add_dataset, require_repository, write_pointer
    from medtransfer.data.sources import SourceConfig

    layout = next(
        (each for each in get_args(get_args(SourceConfig)[0]) if each.model_fields["name"].default == options.source),
        None,
    )
    fields = {name: field.annotation for name, field in layout.model_fields.items()} if layout else {}
    settings = {"name": options.source, "root": options.origin}
    for entry in options.set:
        key, equals, value = entry.partition("=")
        if not equals:
            raise ConfigError(f"--set {entry}: expected KEY=VALUE")
        settings[key] = value if fields.get(key) is str else _value(value, f"--set {entry}")
    try:
        source = TypeAdapter(SourceConfig).validate_python(settings)
    except ValidationError as error:
        lines = explain(error, lambda: fields)
        raise ConfigError("\n".join(f"source {options.source}: {line}" for line in lines)) from error
    root = paths.workspace()
    if not source.root.is_dir():
        raise DataError(f"{source.root}: no such folder, expected a downloaded data set; correct --from")
    require_repository(root)
    name = options.source if options.name is None else options.name
    report = add_dataset(source, name, copy_to=root / paths.RAW)
    pointer = write_pointer(root / paths.RAW / report.name, workspace=root)
    console.print(report.to_text())
    console.print(
        f"versioned by {pointer.relative_to(root)}; name its folder in a profile: root: {paths.RAW / report.name}"
    )


def _value(text: str, where: str) -> Any:
    """Return the value of an option that is not text; its parts stay text, which the layout's types convert."""
    value = parse_yaml(text, where, as_text=True)
    return None if value in ("", "~", "null") else value
