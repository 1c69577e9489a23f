"""``medtransfer compare --data my.csv``: which network for these images? Data report, screening, fits, ranking."""

import re
import shlex
import time
from argparse import Namespace
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from medtransfer import code, paths
from medtransfer.comparing.images import open_input, prepare, with_target
from medtransfer.comparing.question import Question
from medtransfer.errors import ConfigError
from medtransfer.stages.own_data import location_of, question_of
from medtransfer.training.progress import console

if TYPE_CHECKING:  # torch is imported after the data report
    from medtransfer.comparing.findings import Findings

RESERVED = ("weights", "records", "results")
"""Folders beside those of comparisons."""
ENTRY = "medtransfer.comparing.fits"
"""What a fit of a comparison runs."""


def run(options: Namespace) -> None:
    """Compare; a call with the same options goes on where the last one stopped."""
    started = time.monotonic()
    location, layout = location_of(options)
    dataset = _dataset(location)
    name = _name(options, dataset)
    if options.register and not options.keep:
        raise ConfigError("--register: nothing was fine-tuned with --keep 0, expected 1 at least; raise it")
    given = open_input(location, layout, options.modality)
    question = question_of(options, given)
    _say(question.sentence)
    seeds, kept = _seeds(options), _scratch(name)
    data, report = prepare(given, with_target(given, question), question, dataset, crop=options.size, folder=kept)
    for line in report.lines():
        _say(line)
    from medtransfer.comparing.candidates import defaults, read  # torch is imported from here on
    from medtransfer.comparing.fits import Budget
    from medtransfer.comparing.run import Comparison, compare, publish
    from medtransfer.training.engine import Engine, HardwareConfig
    from medtransfer.training.fitting import Setting

    one = Comparison(
        name=name,
        question=question,
        data=data,
        report=report,
        candidates=read(options.candidates, options.weights) if options.candidates else defaults(options.weights),
        budget=Budget(steps=options.steps, batch_size=options.batch, lr=options.lr, crop=options.size, seeds=seeds),
        keep=options.keep,
        setting=Setting(engine=Engine(HardwareConfig()), profile="compare", pointers={}, code=code.digest([ENTRY])),
    )
    found, table = compare(one, started=started)
    publish(one, replace(found, commands=_commands(options, found, name)))
    if options.register and table is not None:
        from medtransfer.stages.compared import register_compared

        command = _again(options, question, name)
        register_compared(options.register, one, table, command=command, root=given.source.root)


def _dataset(location: Path) -> str:
    """Return the name of the images, whatever the comparison is called: it decides the split."""
    path = location.resolve()
    return re.sub(r"[^A-Za-z0-9_-]+", "-", path.stem if location.suffix else path.name).strip("-") or "images"


def _name(options: Namespace, dataset: str) -> str:
    name = paths.plain_name(options.name or dataset, "comparison")
    if name in RESERVED:
        raise ConfigError(f"--name {name}: the folder of all comparisons' {name}; choose another name")
    return name


def _seeds(options: Namespace) -> tuple[int, ...]:
    if options.seeds < 1:
        raise ConfigError(f"--seeds {options.seeds}: expected 1 at least; 3 are usual")
    return tuple(range(options.seeds))


def _scratch(name: str) -> Path:
    return paths.workspace() / paths.SCRATCH / "compare" / name


def _commands(options: Namespace, found: "Findings", name: str) -> tuple[tuple[str, str], ...]:
    """Return what to do next."""
    again = _again(options, found.question, name)
    if not found.places:
        return (("Fine-tune the best by screening", f"{again} --keep 3"),)
    best = found.places[0].cell
    chain = "none" if best.condition == "random" else "stl_n"
    start = next(each.candidate.start for each in found.screened if _key(each.candidate) == best.key)
    given = f"--start {shlex.quote(start)} " if chain != "none" else ""
    workspace = (
        f"medtransfer workspace {name} --data {shlex.quote(str(options.data))} {found.question.flags} "
        f"--network {best.variant} --chain {chain} {given}".strip()
    )
    no_register = options.register or found.question.task == "regression"
    register = () if no_register else (("Register the best fit by validation", f"{again} --register {name}"),)
    possible = found.question.task in ("binary", "multilabel") and "_attn" not in best.variant
    return (*register, *((("Go on in a workspace", workspace),) if possible else ()))


def _key(candidate: "object") -> tuple[str, str]:
    return candidate.variant, candidate.condition  # type: ignore[attr-defined]


def _again(options: Namespace, question: Question, name: str) -> str:
    """Return the command of this call, its question confirmed."""
    said = ["medtransfer compare", "--data", shlex.quote(str(options.data)), "--name", name, question.flags]
    for option, usual in DEFAULTS.items():
        value = getattr(options, option)
        if value != usual and option not in ("keep",):
            said.append(f"--{option} {shlex.quote(str(value))}")
    return " ".join(said)


DEFAULTS = {
    "layout": None,
    "modality": "CXR",
    "candidates": None,
    "weights": Path("weights"),
    "size": 160,
    "steps": 80,
    "batch": 16,
    "lr": 0.0005,
    "seeds": 3,
    "keep": 3,
}
"""Options of the command line that a repetition names where they differ."""


def _say(text: str) -> None:
    console.print(text, markup=False, soft_wrap=True)
