"""``medtransfer data add|phantom``: add a real data set, or draw the embedded sample."""

from argparse import Namespace
from pathlib import Path

import yaml
from pydantic import TypeAdapter, ValidationError

from medtransfer import paths
from medtransfer.errors import ConfigError
from medtransfer.training.progress import console


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
    from medtransfer.data.add import add_dataset, write_pointer
    from medtransfer.data.sources import SourceConfig

    settings = {"name": options.source, "root": options.origin}
    for entry in options.set:
        key, equals, value = entry.partition("=")
        if not equals:
            raise ConfigError(f"--set {entry}: expected KEY=VALUE")
        settings[key] = yaml.safe_load(value)
    try:
        source = TypeAdapter(SourceConfig).validate_python(settings)
    except ValidationError as error:
        first = error.errors()[0]
        raise ConfigError(f"source {options.source}: {'.'.join(map(str, first['loc']))}: {first['msg']}") from error
    root = paths.workspace()
    name = options.source if options.name is None else options.name
    report = add_dataset(source, name, copy_to=root / paths.RAW)
    pointer = write_pointer(root / paths.RAW / report.name, workspace=root)
    console.print(report.to_text())
    console.print(
        f"versioned by {pointer.relative_to(root)}; name its folder in a profile: root: {paths.RAW / report.name}"
    )
