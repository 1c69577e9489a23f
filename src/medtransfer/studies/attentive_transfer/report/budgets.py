"""The budget and optimiser that the compared self-supervised methods share, in words."""

from medtransfer.reporting.formatting import listed
from medtransfer.studies.attentive_transfer.config import AttentiveTransferConfig
from medtransfer.studies.attentive_transfer.titles import step_title

_TITLES = {"sgd": "SGD", "adam": "Adam", "adamw": "AdamW", "lars": "LARS"}
_PAPERS = {"sstl_m": "sgd", "moco": "sgd", "moco_v2": "sgd", "simclr": "lars"}
"""Optimiser in each method's own paper: Liu & Ji 2021, He et al. 2020, Chen et al. 2020 (MoCo v2, SimCLR)."""


def shared_budget(config: AttentiveTransferConfig) -> str:
    """State that all compared methods share one optimiser and budget, and which optimisers their papers use.

    One sentence; empty if there is nothing to compare or the methods differ in optimiser or budget.
    """
    compared = {"sstl_m": config.sstl_m.train, **{name: config.recipes[name].train for name in config.methods}}
    budgets = {step: train.model_dump(mode="json") for step, train in compared.items()}
    if len(budgets) < 2 or any(other != next(iter(budgets.values())) for other in budgets.values()):
        return ""
    first = next(iter(budgets.values()))
    optimizer = first["optimizer"]
    lengths = {"epochs": first["epochs"], "steps": first["steps"]}
    length = next(f"{count} {unit}" for unit, count in lengths.items() if count is not None)
    rate = optimizer["lr"] * first["batch_size"] / (optimizer["reference_batch"] or first["batch_size"])
    used = optimizer["name"]
    settings = f"{_TITLES[used]}, learning rate {rate:g}, {length}, batch size {first['batch_size']}"
    shared = f"{listed(map(step_title, budgets))} share one optimiser and budget here ({settings})"
    elsewhere = [_PAPERS[step] for step in budgets if _PAPERS.get(step, used) != used]
    parts = [
        f"{listed(step_title(step) for step in budgets if _PAPERS.get(step) == name)} with {_TITLES[name]}"
        for name in dict.fromkeys(elsewhere)
    ]
    return f"{shared}; their own papers train {listed(parts)}." if parts else f"{shared}."
