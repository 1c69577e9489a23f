"""On which budget and optimiser self-supervised methods were compared, in words."""

from collections.abc import Iterable, Mapping
from typing import Any

from medtransfer.studies.attentive_transfer.report.names import step_title

_TITLES = {"sgd": "SGD", "adam": "Adam", "adamw": "AdamW", "lars": "LARS"}
_PAPERS = {"sstl_m": "sgd", "moco": "sgd", "moco_v2": "sgd", "simclr": "lars"}
"""Of each method's own paper: Liu & Ji 2021, He et al. 2020, Chen, Fan, et al. 2020, Chen, Kornblith, et al. 2020."""


def shared_budget(budgets: Mapping[str, Mapping[str, Any]]) -> str:
    """Say that all methods learn with one optimiser and budget, and which others their papers use.

    Args:
        budgets: parameters ``train`` by step of a chain: ``optimizer, batch_size``, and ``epochs`` or ``steps``.

    Returns:
        One sentence; empty where there is nothing to compare or methods learn differently.
    """
    if len(budgets) < 2 or any(other != next(iter(budgets.values())) for other in budgets.values()):
        return ""
    first = next(iter(budgets.values()))
    optimizer = first["optimizer"]
    lengths = {"epochs": first["epochs"], "steps": first["steps"]}
    length = next(f"{count} {unit}" for unit, count in lengths.items() if count is not None)
    rate = optimizer["lr"] * first["batch_size"] / (optimizer["reference_batch"] or first["batch_size"])
    used = optimizer["name"]
    what = f"{_TITLES[used]}, learning rate {rate:g}, {length} of batches of {first['batch_size']}"
    said = f"{_listed(map(step_title, budgets))} learn here with one optimiser and budget ({what})"
    elsewhere = [_PAPERS[step] for step in budgets if _PAPERS.get(step, used) != used]
    parts = [
        f"{_listed(step_title(step) for step in budgets if _PAPERS.get(step) == name)} with {_TITLES[name]}"
        for name in dict.fromkeys(elsewhere)
    ]
    return f"{said}; their own papers train {_listed(parts)}." if parts else f"{said}."


def _listed(words: Iterable[str]) -> str:
    *first, last = words
    return f"{', '.join(first)} and {last}" if first else last
