"""The few numbers of a study that are committed: its scorecard in one row per variant."""

from collections.abc import Iterable, Mapping
from typing import Any

from medtransfer.errors import DataError
from medtransfer.evaluation.cells import Key
from medtransfer.evaluation.scorecard import best_fit

DIGITS = 3
_METRICS = {
    "probability": ("auroc", "auprc", "f1", "macro_auroc", "macro_auprc", "macro_f1", "mse"),
    "severity": ("mse",),
}


def brief(card: Mapping[str, Any], fits: Iterable[Key], *, dataset: str, metric: str) -> dict[str, dict[str, Any]]:
    """Return, per variant, test metrics under its best condition by validation, rounded to ``DIGITS``.

    A row has ``condition``, the metrics (mean over seeds), ``auroc_low`` and ``auroc_high`` (95 %) where there is an
    interval, and the number of test ``images``. Metrics of the severity head are named after it.

    Args:
        card: result of :func:`scorecard.scorecard`.
        fits: (variant, condition) of the fits that compete for one registered model.
        dataset: data set of the validation rows that decide and of the test rows that are shown.
        metric: metric of validation that decides, as in :func:`scorecard.best_fit`.
    """
    rows: dict[str, dict[str, Any]] = {}
    conditions: dict[str, list[Key]] = {}
    for variant, condition in fits:
        conditions.setdefault(variant, []).append((variant, condition))
    for variant, own in conditions.items():
        try:
            condition = best_fit(card, own, dataset=dataset, metric=metric)["condition"]
        except DataError:
            continue  # no validation value of this variant: nothing that could be shown for it
        if entry := card.get(f"{variant}/{condition}/{dataset}/test"):
            rows[variant] = {"condition": condition, **_numbers(entry), "images": entry["images"]}
    return rows


def _numbers(entry: Mapping[str, Any]) -> dict[str, float]:
    found: dict[str, float | None] = {}
    for kind, metrics in _METRICS.items():
        measured = entry.get(kind, {}).get("metrics", {})
        suffix = "" if kind == "probability" else f"_{kind}"
        found |= {f"{name}{suffix}": measured[name]["mean"] for name in metrics if name in measured}
        if kind == "probability" and "auroc" in measured:
            found |= {f"auroc_{end}": measured["auroc"].get(end) for end in ("low", "high")}
    return {name: round(value, DIGITS) for name, value in found.items() if value is not None}
