"""What is asked about a user's images: the target that a table holds, recognised from its columns and confirmed."""

import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from medtransfer.config import Config
from medtransfer.errors import ConfigError, DataError
from medtransfer.evaluation.cells import Task

Columns = Mapping[str, Sequence[str]]
"""Column → its cells, one per image; blank = not known."""
MOST_CLASSES = 50
FEW_NUMBERS = 10
"""Up to this number of different whole numbers can be classes or a grade: only the user knows."""


class Question(Config):
    """What the networks learn to answer.

    Attributes:
        task: kind of the target.
        columns: columns of the table that hold it.
        outputs: class names in order, findings, or the name of the value.
        positive: the class of two-class metrics; empty for the other tasks.
    """

    task: Task
    columns: tuple[str, ...]
    outputs: tuple[str, ...]
    positive: str = ""

    @property
    def metric(self) -> str:
        """The metric that ranks candidates; higher is better."""
        return {"binary": "auroc", "multiclass": "macro_auroc", "multilabel": "auroc", "regression": "r2"}[self.task]

    @property
    def sentence(self) -> str:
        """The question in words."""
        names = self.outputs
        said = {
            "binary": f"two classes, {' and '.join(names)}; positive is {self.positive}",
            "multiclass": f"{len(names)} classes that exclude each other: {', '.join(names)}",
            "multilabel": f"{len(names)} findings that do not exclude each other: {', '.join(names)}",
            "regression": "a number in units of its own",
        }[self.task]
        return f"{', '.join(self.columns)}: {self.task}, {said}"

    @property
    def flags(self) -> str:
        """The options of the command line that ask it."""
        columns = "".join(f" --target {_quoted(column)}" for column in self.columns)
        return f"--task {self.task}{columns}" + (f" --positive {_quoted(self.positive)}" if self.positive else "")


@dataclass(frozen=True)
class Asked:
    """What the user said of the target on the command line."""

    columns: tuple[str, ...] = ()
    task: Literal["binary", "multiclass", "multilabel", "regression"] | None = None
    positive: str = ""


def recognise(table: Columns, asked: Asked, *, source: str) -> list[Question]:
    """Return the questions that a table could mean, the likeliest first; one where it is clear.

    Args:
        table: columns that could be a target.
        asked: what the user said.
        source: names the table in errors.

    Raises:
        ConfigError: a named column, class or task does not fit the table.
        DataError: the table holds no usable target.
    """
    columns = asked.columns or _likely(table, source)
    unknown = [name for name in columns if name not in table]
    if unknown:
        raise ConfigError(f"--target {unknown[0]}: not a column of {source}; there are {', '.join(table) or 'none'}")
    found = _several(table, columns, source) if len(columns) > 1 else _single(table, columns[0], source)
    if asked.task:
        tasks = ", ".join(question.task for question in found)
        found = [question for question in found if question.task == asked.task]
        if not found:
            raise ConfigError(f"--task {asked.task}: {', '.join(columns)} of {source} can only be {tasks}")
    if not asked.positive:
        return found
    if found[0].task != "binary" or asked.positive not in found[0].outputs:
        raise ConfigError(
            f"--positive {asked.positive}: expected one of two classes; {source} has {', '.join(found[0].outputs)}"
        )
    return [question.model_copy(update={"positive": asked.positive}) for question in found]


def confirmed(found: Sequence[Question], asked: Asked, *, ask: Callable[[str], str] | None = None) -> Question:
    """Return the question that the user confirms: by options, or by an answer where there is somebody to ask.

    Args:
        found: what :func:`recognise` returned.
        asked: what the user said; ``--task``, and ``--positive`` of two classes, confirm.
        ask: shows a text and returns the answer; None where nobody can be asked.

    Raises:
        ConfigError: nobody confirmed; the message has the options that do.
    """
    if asked.task and (found[0].task != "binary" or asked.positive):
        return found[0]
    if ask is None:
        either = " or ".join(f"{question.sentence} ({question.flags})" for question in found)
        raise ConfigError(f"the target is recognised, not confirmed: {either}; call again with the options in brackets")
    for question in found:
        if ask(f"{question.sentence}. Is this the question? [y/n] ").strip().lower() in ("y", "yes"):
            return question
    raise ConfigError("the target was not confirmed; name it with --target, --task and, of two classes, --positive")


def terminal() -> Callable[[str], str] | None:
    """Return how to ask the user, None where the standard input is no terminal."""
    return input if sys.stdin.isatty() else None


def _likely(table: Columns, source: str) -> tuple[str, ...]:
    """Return the columns that are named like a target."""
    filled = [name for name, cells in table.items() if any(cells)]
    kinds = [
        [name for name in filled if name == "label"],
        [name for name in filled if name.startswith("y_")],
        [name for name in filled if name.startswith("v_")],
    ]
    present = [tuple(kind) for kind in kinds if kind]
    if not present:
        raise DataError(
            f"{source}: no column could be a target, expected label, y_<finding> or v_<value> with known cells; name "
            f"one with --target (columns: {', '.join(table) or 'none'})"
        )
    if len(present) > 1 or (len(present[0]) > 1 and present[0][0].startswith("v_")):
        either = ", ".join(name for kind in present for name in kind)
        raise ConfigError(f"{source}: several columns could be the target ({either}); name it with --target")
    return present[0]


def _several(table: Columns, columns: tuple[str, ...], source: str) -> list[Question]:
    for column in columns:
        odd = next((cell for cell in table[column] if cell and _number(cell) not in (0, 1)), None)
        if odd is not None:
            raise DataError(
                f"{source}, column {column}: {odd!r}, expected 0, 1 or nothing in each of several targets; name a "
                "single --target"
            )
    findings = tuple(column.removeprefix("y_") for column in columns)
    return [Question(task="multilabel", columns=columns, outputs=findings)]


def _single(table: Columns, column: str, source: str) -> list[Question]:
    cells = [cell for cell in table[column] if cell]
    values = sorted(set(cells))
    if not values:
        raise DataError(f"{source}, column {column}: blank in every row, expected a target in some; fill it")
    if len(values) == 1:
        raise DataError(
            f"{source}, column {column}: a single class, {values[0]!r}, expected two at least; add images of another"
        )
    name = column.removeprefix("v_").removeprefix("y_")
    numbers = [_number(value) for value in values]
    as_value = Question(task="regression", columns=(column,), outputs=(name,))
    numeric = all(number is not None for number in numbers)
    whole = numeric and all(float(number or 0).is_integer() for number in numbers)
    if numeric and len(values) > 2 and (column.startswith("v_") or not whole or len(values) > FEW_NUMBERS):
        return [as_value]
    if len(values) > min(MOST_CLASSES, max(2, len(cells) // 5)):
        raise DataError(
            f"{source}, column {column}: {len(values)} different texts in {len(cells)} rows, expected a few classes "
            "or numbers; name another --target"
        )
    if numeric:
        values = sorted(values, key=float)
    task: Task = "binary" if len(values) == 2 else "multiclass"
    as_classes = Question(
        task=task, columns=(column,), outputs=tuple(values), positive=values[-1] if task == "binary" else ""
    )
    return [as_classes, as_value] if numeric and len(values) > 2 else [as_classes]


def _number(cell: str) -> float | None:
    try:
        return float(cell)
    except ValueError:
        return None


def _quoted(text: str) -> str:
    import shlex

    return shlex.quote(text)
