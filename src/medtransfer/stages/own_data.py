"""What ``compare`` and ``workspace`` share: own images, their target, and the settings of a workspace for them."""

from argparse import Namespace
from pathlib import Path
from typing import Any

import pandas as pd

from medtransfer.comparing.images import Input, added, open_input, require_enough, with_target
from medtransfer.comparing.question import Asked, Question, confirmed, recognise, terminal
from medtransfer.errors import ConfigError

READ = "label"
"""The column of classes that a data set of params.yaml reads; findings are named ``y_<finding>``."""


def location_of(options: Namespace) -> tuple[Path, str]:
    """Return what ``--data`` names: a table, a folder, or a data set that was added."""
    data: Path = options.data
    if data.exists() or data.suffix or len(data.parts) > 1:
        return data, options.layout or "imagefolder"
    folder, layout = added(str(data))
    return folder, options.layout or layout


def question_of(options: Namespace, given: Input) -> Question:
    """Return the question that the options or an answer confirm."""
    asked = Asked(tuple(options.target), options.task, options.positive)
    return confirmed(recognise(given.table, asked, source=str(options.data)), asked, ask=terminal())


def wanted(options: Namespace) -> Any:
    """Return what a workspace for own images is for, after checking images, target, network and weights.

    Raises:
        ConfigError: an option is missing, or a column has a name that no data set reads.
        DataError, ModelError, CheckpointError: images, network or weights do not fit.
    """
    if not options.network:
        raise ConfigError("workspace --data: which network? Give --network, or let medtransfer compare choose one")
    location, layout = location_of(options)
    given = open_input(location, layout, options.modality)
    question = question_of(options, given)
    scan = with_target(given, question)
    require_enough(pd.DataFrame(scan.rows), question)
    other = [name for name in question.columns if name != READ and not name.startswith("y_")]
    if other:
        raise ConfigError(
            f"{options.data}: a workspace reads classes from the column {READ} and findings from y_<finding>; rename "
            f"{other[0]} in the table"
        )
    from medtransfer.comparing.workspace import Wanted

    source = given.source.model_dump(mode="json", exclude_defaults=True) | {"name": given.source.name}
    if "ignore" in source or given.not_read:
        source["ignore"] = [name for name in given.not_read if name not in question.columns]
    if question.task != "multilabel" and given.source.name == "csv":
        source["classes"] = list(question.outputs)
    pointer = location.with_name(f"{location.name}.dvc")
    return Wanted(
        name=options.name,
        question=question,
        candidate=_checked(options, len(question.outputs)),
        source=source,
        pointer=str(pointer) if pointer.exists() else "",
        official=scan.official_splits and not scan.known_overlaps,
        crop=options.size,
    )


def _checked(options: Namespace, outputs: int) -> Any:
    """Return network and start after building the network and loading the weights into it."""
    from medtransfer.comparing.candidates import RANDOM, parse, weights_of
    from medtransfer.models.classifier import build_network, require_network
    from medtransfer.models.weights import load_into

    start = options.start or "" if options.chain != "none" else RANDOM
    candidate = parse(options.network + (f"@{start}" if start else ""), Path("weights"))
    if options.chain != "none" and candidate.start == RANDOM:
        raise ConfigError(
            f"--chain {options.chain}: no weights of {options.network} in weights/; name a file with --start"
        )
    require_network(candidate.structure, side=options.size)
    weights = weights_of(candidate)
    if weights is not None:
        load_into(build_network(candidate.structure, outputs, seed=0), weights, head=False)
    return candidate
