"""The studies, one line each, and how the rest of the program finds their modules.

Nothing else names a study: verbs, stages and parameters go through this table.
"""

from collections.abc import Collection, Iterator, Sequence
from importlib import import_module
from importlib.util import find_spec
from itertools import product
from typing import Any

from medtransfer.errors import ConfigError

STUDIES = (
    "attentive_transfer",
    "truncated_transfer",
    "multitask_vit",
    "visual_transfer",
)

ALL = "all"
"""Given as the variant: every variant of the phase."""

VERBS = {
    "predict": "predictions",
    "score": "predictions",
    "audit": "predictions",
    "register": "predictions",
    "transferability": "transferability",
    "explain": "explanations",
    "measure": "measurements",
    "report": "report",
}
"""Verb → the module of a study that implements it; a verb exists for the studies that have its module."""


def module(study: str, name: str) -> Any:
    """Import a module of a study.

    Raises:
        ConfigError: there is no such study, or it has no such module.
    """
    if study not in STUDIES:
        raise ConfigError(f"study {study!r}: there is no such study; choose one of {', '.join(STUDIES)}")
    if not has(study, name):
        raise ConfigError(f"study {study!r}: it has no module {name!r}")
    return import_module(_full_name(study, name))


def has(study: str, name: str) -> bool:
    """Whether a study has a module."""
    return find_spec(_full_name(study, name)) is not None


def with_verb(verb: str) -> tuple[str, ...]:
    """Return the studies for which a verb exists."""
    return tuple(study for study in STUDIES if has(study, VERBS[verb]))


def entries(verb: str, study: str, phase: str = "") -> list[str]:
    """Return the modules of a study that a verb runs: the entries of ``code.module_hashes``.

    ``fit`` runs the module that its phase names, every other verb the module in ``VERBS``.

    Raises:
        ConfigError: there is no such study or phase.
    """
    name = _phases(study, phase)[phase].module if verb == "fit" else VERBS[verb]
    return [_full_name(study, part) for part in dict.fromkeys(("study", name))]


def plans(
    study: str, config: Any, phase: str, variant: str, setting: Any, *, conditions: Sequence[str] = ()
) -> Iterator[Any]:
    """Yield the work of ``medtransfer fit STUDY PHASE VARIANT``: one :class:`training.run.Plan` per variant.

    Args:
        study: name of the study.
        config: its parameters.
        phase: one of its phases.
        variant: a variant of the phase, or ``all``.
        setting: device and lineage.
        conditions: conditions of the variant; empty means all.

    Raises:
        ConfigError: there is no such phase, variant or condition; raised before the first plan.
    """
    wiring, phases = module(study, "study"), _phases(study, phase)
    variants = wiring.variants(config, phase)
    if variant != ALL:
        _require(variant, variants, "variant", f"{study} {phase}")
    known = {name: wiring.conditions(config, phase, name) for name in (variants if variant == ALL else (variant,))}
    for name, condition in product(known, conditions):
        _require(condition, known[name], "condition", f"{study} {phase} {name}")
    for name, of_variant in known.items():
        chosen = tuple(condition for condition in of_variant if not conditions or condition in conditions)
        yield module(study, phases[phase].module).plan(config, phase, name, chosen, setting)


def _phases(study: str, phase: str) -> Any:
    """Return the phases of a study after checking that ``phase`` is one of them."""
    phases = module(study, "study").PHASES
    _require(phase, phases, "phase", study)
    return phases


def _require(name: str, known: Collection[str], what: str, where: str) -> None:
    if name not in known:
        raise ConfigError(f"{what} {name!r}: {where} has none of this name; there are {', '.join(known) or 'none'}")


def _full_name(study: str, name: str) -> str:
    return f"{__name__}.{study}.{name}"
