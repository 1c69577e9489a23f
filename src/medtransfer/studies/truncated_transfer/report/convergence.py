"""How fast each variant reaches its best validation AUPRC: steps, epochs, seconds, from the records of the fits."""

from collections.abc import Sequence
from typing import Any

import pandas as pd

from medtransfer.reporting.content import Column, Figure, Table, Text
from medtransfer.reporting.drawing import grid_rows, panels, svg
from medtransfer.reporting.formatting import MISSING, is_missing, number
from medtransfer.reporting.records import Fit, curves, last_values, provenance
from medtransfer.studies.truncated_transfer.config import Condition, TruncatedTransferConfig
from medtransfer.studies.truncated_transfer.report.figures import LOOKS
from medtransfer.studies.truncated_transfer.report.names import (
    condition_title,
    network_title,
    start_title,
    strategy_of,
    variant_title,
)

_DASHES = ("-", "--", ":", "-.")
_HISTORY = {"auprc": ("val/auprc",)}


def validation_curves(fits: Sequence[Fit]) -> pd.DataFrame:
    """Return validation AUPRC of the fits that count: ``variant, condition, seed, step, auprc``."""
    found = curves([fit for fit in fits if fit[0]["phase"] == "finetuned"], _HISTORY)
    return found.reindex(columns=["variant", "condition", "seed", "step", "auprc"])


def convergence(fits: Sequence[Fit]) -> pd.DataFrame:
    """Return a row a fit that counts: ``variant, condition, seed, best, step, share, epochs, seconds``.

    ``best`` is the best validation AUPRC, ``step`` where it was first reached, ``share`` that step as a share of all,
    ``epochs`` and ``seconds`` the same share of the fit's (NaN where not recorded): validations stand evenly, so time
    runs as steps do.
    """
    counting = [fit for fit in fits if fit[0]["phase"] == "finetuned"]
    times = {_key(row): row["seconds"] for row in provenance(counting).to_dict("records")}
    epochs = {_key(names): last_values(folder).get("fit/epochs", float("nan")) for names, folder in counting}
    rows = []
    for key, part in (
        validation_curves(fits).dropna(subset="auprc").groupby(["variant", "condition", "seed"], sort=False)
    ):
        best = part.loc[part["auprc"].idxmax()]
        share = float(best["step"] / part["step"].max())
        numbers = {"best": best["auprc"], "step": best["step"], "share": share}
        numbers |= {"epochs": share * epochs[key], "seconds": share * times[key]}
        rows.append(dict(zip(("variant", "condition", "seed"), key, strict=True)) | numbers)
    return pd.DataFrame(rows, columns=["variant", "condition", "seed", "best", "step", "share", "epochs", "seconds"])


def convergence_table(found: pd.DataFrame, config: TruncatedTransferConfig) -> Table:
    """Lay out what each variant needed to reach its best validation AUPRC."""
    parts = dict(tuple(found.groupby(["variant", "condition"])))
    body = []
    for condition in config.conditions():
        for variant in config.variants:
            part = parts.get((variant, condition.name))
            if part is not None:
                shown = (
                    _spread(part["best"], 3),
                    _spread(part["step"], 0),
                    Text(f"{100 * part['share'].mean():.0f} %"),
                )
                labels = (Text(condition_title(condition)), Text(network_title(variant)), Text(start_title(variant)))
                body.append((*labels, *shown, *(_spread(part[name], 1) for name in ("epochs", "seconds"))))
    return Table(
        "convergence",
        "Steps, epochs and seconds to the best validation AUPRC",
        "The paper holds that transfer converges faster. Mean ± sd over seeds; training on this machine, validations "
        "included. A best at the end of the budget means that the fit had not converged.",
        (
            *(Column(name, number=False) for name in ("Setting", "Network", "Start")),
            *map(Column, ("best validation AUPRC", "steps to it", "of all steps", "epochs to it", "seconds to it")),
        ),
        tuple(body),
    )


def convergence_figure(history: pd.DataFrame, config: TruncatedTransferConfig) -> Figure:
    """Draw validation AUPRC over steps: a panel a setting, a line a variant and seed."""
    conditions = [condition for condition in config.conditions() if condition.name in set(history["condition"])]

    def panel(axis: Any, condition: Condition) -> None:
        _curves(axis, history[history["condition"] == condition.name], condition, config)

    def draw(figure: Any) -> None:
        panels(figure, conditions, panel, label="validation AUPRC", share=False)

    caption = "One line a network and seed: orange RI, blue TL, green transfusion; dashes tell the networks apart."
    title = "Learning curves of validation AUPRC"
    return Figure(
        "convergence-curves",
        title,
        caption,
        svg(draw, "convergence", height=0.6 + 0.2 * len(config.variants) / 4 + 2.9 * grid_rows(len(conditions))),
        keyed=False,
    )


def _curves(axis: Any, history: pd.DataFrame, condition: Condition, config: TruncatedTransferConfig) -> None:
    for (variant, seed), part in history.groupby(["variant", "seed"], sort=False):
        alike = [other for other in config.variants if strategy_of(other) == strategy_of(variant)]
        style = {
            "color": LOOKS[strategy_of(variant)]["color"],
            "linestyle": _DASHES[alike.index(variant) % len(_DASHES)],
            "linewidth": 1.1,
        }
        label = variant_title(variant) if seed == config.seeds[0] else None
        axis.plot(part["step"], part["auprc"], **style, label=label)
    axis.set_title(condition_title(condition))
    axis.set_xlabel("step")


def _key(row: Any) -> tuple[str, str, int]:
    return row["variant"], row["condition"], row["seed"]


def _spread(values: pd.Series, digits: int) -> Text:
    if is_missing(values.mean()):
        return MISSING
    sd = values.std()
    return Text(number(values.mean(), digits=digits) + ("" if is_missing(sd) else f" ± {number(sd, digits=digits)}"))
