"""How fast each variant reaches its best validation AUPRC, in steps, epochs and seconds, from the fits' records."""

from collections.abc import Sequence
from typing import Any

import pandas as pd

from medtransfer.reporting.content import Column, Figure, Table, TableCell
from medtransfer.reporting.drawing import grid_rows, panels, svg
from medtransfer.reporting.formatting import spread
from medtransfer.reporting.records import Fit, curves, last_values
from medtransfer.studies.truncated_transfer.config import TruncatedTransferConfig
from medtransfer.studies.truncated_transfer.report.figures import line_style
from medtransfer.studies.truncated_transfer.report.names import FIT, condition_title, fit_cells, in_order, variant_title

TRIAL = "-trial"
"""Part of the condition's name in a trial of a learning rate: ``covid_ct-all-tuned-trial0.001``."""
_FIT = ["variant", "condition", "seed"]


def counting(fits: Sequence[Fit]) -> list[Fit]:
    """Return the fine-tuned fits without the trials of their learning rates."""
    return [fit for fit in fits if fit[0]["phase"] == "finetune" and TRIAL not in fit[0]["condition"]]


def validation_curves(fits: Sequence[Fit]) -> pd.DataFrame:
    """Return validation AUPRC of the fits without trials: ``variant, condition, seed, step, auprc``."""
    return curves(counting(fits), {"auprc": ("val/auprc",)})[[*_FIT, "step", "auprc"]]


def convergence(fits: Sequence[Fit]) -> pd.DataFrame:
    """Return one row per fit without trials: ``variant, condition, seed, best, step, share, epochs, seconds``.

    ``best`` is the best validation AUPRC, ``step`` where it was first reached, ``share`` that step as a share of all
    steps, ``epochs`` and ``seconds`` the same share of the fit's total (NaN where not recorded): validations are evenly
    spaced, so time is proportional to steps.
    """
    last = {tuple(names[name] for name in _FIT): last_values(folder) for names, folder in counting(fits)}
    rows = []
    for key, part in validation_curves(fits).dropna(subset="auprc").groupby(_FIT, sort=False):
        best = part.loc[part["auprc"].idxmax()]
        share = float(best["step"] / part["step"].max())
        used = {unit: share * last[key].get(f"fit/{unit}", float("nan")) for unit in ("epochs", "seconds")}
        rows.append((*key, best["auprc"], best["step"], share, *used.values()))
    return pd.DataFrame(rows, columns=[*_FIT, "best", "step", "share", "epochs", "seconds"])


def convergence_table(best: pd.DataFrame, config: TruncatedTransferConfig) -> Table:
    """Return what each variant needed to reach its best validation AUPRC; ``best``: rows of :func:`convergence`."""
    body = []
    for key, part in in_order(config, dict(tuple(best.groupby(_FIT[:2])))):
        share = TableCell(f"{100 * part['share'].mean():.0f} %")
        cells = (_over_seeds(part["best"], 3), _over_seeds(part["step"], 0), share)
        body.append((*fit_cells(key), *cells, *(_over_seeds(part[name], 1) for name in ("epochs", "seconds"))))
    return Table(
        "convergence",
        "Steps, epochs and seconds to the best validation AUPRC",
        "The paper states that transfer converges faster. Mean ± sd over seeds; seconds are on this machine, including "
        "validation. A best value at the end of the budget means that the fit had not converged.",
        (
            *FIT,
            *map(Column, ("best validation AUPRC", "steps to it", "of all steps", "epochs to it", "seconds to it")),
        ),
        tuple(body),
    )


def convergence_figure(history: pd.DataFrame, config: TruncatedTransferConfig) -> Figure:
    """Draw validation AUPRC over steps: one panel per setting, one line per variant and seed."""
    recorded = set(history["condition"])
    conditions = [condition.name for condition in config.conditions() if condition.name in recorded]

    def panel(axis: Any, condition: str) -> None:
        for (variant, seed), part in history[history["condition"] == condition].groupby(_FIT[::2], sort=False):
            style = line_style(variant, config.variants) | {"linewidth": 1.1}
            label = variant_title(variant) if seed == config.seeds[0] else None
            axis.plot(part["step"], part["auprc"], **style, label=label)
        axis.set_title(condition_title(condition))
        axis.set_xlabel("step")

    def draw(figure: Any) -> None:
        panels(figure, conditions, panel, label="validation AUPRC", share=False)

    caption = "One line per network and seed: orange RI, blue TL, green transfusion; dashes distinguish networks."
    title = "Learning curves of validation AUPRC"
    height = 0.6 + 0.2 * len(config.variants) / 4 + 2.9 * grid_rows(len(conditions))
    return Figure("convergence-curves", title, caption, svg(draw, "convergence", height=height))


def _over_seeds(values: pd.Series, digits: int) -> TableCell:
    return TableCell(spread(values.mean(), values.std(), digits=digits))
