"""The numbers of the paper's text beside ours, where both mean the same thing."""

from collections.abc import Mapping, Sequence
from typing import Any

from medtransfer.reporting.content import Column, Table, Text
from medtransfer.reporting.formatting import is_missing, number, signed
from medtransfer.studies.truncated_transfer.config import TruncatedTransferConfig
from medtransfer.studies.truncated_transfer.paper.values import stated
from medtransfer.studies.truncated_transfer.report.example import example
from medtransfer.studies.truncated_transfer.report.findings import mean_of_output
from medtransfer.studies.truncated_transfer.report.names import condition_title
from medtransfer.studies.truncated_transfer.report.values import Results, Row
from medtransfer.training.optim import PlateauSchedule

_GROUPS = {
    "covid": "private COVID-19 set, images",
    "covid_5pct": "5 % of it, images",
    "covid_10pct": "10 % of it, images",
    "chexpert": "CheXpert, images and ratios",
    "rdr": "other sets it cites",
    "example": "example of Fig. 2",
    "training": "training",
    "result": "results",
}
_PNEUMOTHORAX = "pneumothorax"


def stated_table(found: Results, rows: Sequence[Row], costs: Mapping[str, Any]) -> Table:
    """Lay out the numbers of the paper's text that have one of ours beside them, and say how many have none."""
    ours = _settings(found.config) | _example() | _outcomes(found, rows, costs)
    body = tuple(
        (
            Text(_GROUPS[row.group]),
            Text(row.item.replace("_", " ")),
            Text(f"{row.value:,g}" if row.value < 1e4 else f"{row.value:,.0f}"),
            ours[row.group, row.item],
        )
        for row in stated().itertuples()
        if (row.group, row.item) in ours
    )
    missing = len(stated()) - len(body)
    left_out = (
        f"{missing} more have nothing of the same meaning here: other data, or no such variant or finding was run."
    )
    return Table(
        "stated",
        "The numbers of the paper’s text",
        "Its results stand in bar charts without numbers; only these are printed. Ours: this profile’s own setting or "
        "result of the same meaning, on our data.",
        (Column("About", number=False), Column("Number", number=False), Column("paper"), Column("ours")),
        body,
        ("94.6 % fewer parameters belong to Dens-T1 by count; the printed 79 % is what Dens-T2 saves.", left_out),
    )


def _settings(config: TruncatedTransferConfig) -> dict[tuple[str, str], Text]:
    train = config.train
    found = {
        "lr": Text(f"{train.optimizer.lr:g}", "protocol “paper”" if "paper" in config.protocols else "before tuning"),
        "batch_size": Text(str(train.batch_size)),
        "repeats": Text(str(len(config.seeds))),
        "input": Text(str(config.augment.crop)),
    }
    if train.epochs:
        found["epochs"] = Text(str(train.epochs))
    if isinstance(train.schedule, PlateauSchedule):
        found["lr_factor"] = Text(f"{train.schedule.factor:g}")
    return {("training", name): text for name, text in found.items()}


def _example() -> dict[tuple[str, str], Text]:
    """Our definition has the same counts; the areas are means over all placements."""
    rows = stated().query("group == 'example'")
    counts = {row.item: Text(f"{row.value:g}") for row in rows.itertuples() if not row.item.startswith("C")}
    counts |= {row.item: Text(f"{row.value:g}") for row in rows.itertuples() if row.item.endswith("_top")}
    for name, placements in example().items():
        auroc, precision, _ = placements["mean over all placements"]
        counts |= {
            f"{name}_{metric}": Text(number(value), "mean over placements")
            for metric, value in (("auroc", auroc), ("auprc", precision))
        }
    return {("example", item): text for item, text in counts.items()}


def _outcomes(found: Results, rows: Sequence[Row], costs: Mapping[str, Any]) -> dict[tuple[str, str], Text]:
    """Return our largest sd over repeats by kind of task, the share that Dens-T1 saves, and TL − RI of ResNet-50."""
    result = {}
    for item, several in (("chexpert_std_max", True), ("covid_std_max", False)):
        spread = [
            row["sd"]
            for row in rows
            if not is_missing(row["sd"]) and bool(found.config.tasks[row["condition"].task].findings) == several
        ]
        if spread:
            result[item] = Text(number(max(spread)), "tasks of several findings" if several else "tasks of one class")
    networks = costs["networks"]
    if {"densenet121", "densenet121_t1"} <= networks.keys():
        share = 1 - networks["densenet121_t1"]["parameters"] / networks["densenet121"]["parameters"]
        result["dens_t1_param_reduction_pct"] = Text(number(100 * share, digits=1))
    for (variant, condition), fits in found.fits.items():
        random = found.fits.get(("resnet50-random", condition))
        if variant == "resnet50-transfer" and _PNEUMOTHORAX in fits.outputs and random:
            gain = mean_of_output(fits, _PNEUMOTHORAX) - mean_of_output(random, _PNEUMOTHORAX)
            result.setdefault(
                "resnet50_TL_minus_RI_on_Pt_auprc_pct", Text(signed(100 * gain, digits=1), condition_title(condition))
            )
    return {("result", item): text for item, text in result.items()}
