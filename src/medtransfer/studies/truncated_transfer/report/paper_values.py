"""The numbers in the paper's text compared with ours, where both mean the same thing."""

from collections.abc import Mapping, Sequence
from typing import Any

from medtransfer.evaluation.cells import Row
from medtransfer.reporting.content import Column, Table, TableCell
from medtransfer.reporting.formatting import is_missing, labels, number, signed
from medtransfer.studies.truncated_transfer.config import TruncatedTransferConfig
from medtransfer.studies.truncated_transfer.paper.values import paper_values
from medtransfer.studies.truncated_transfer.report.example import example
from medtransfer.studies.truncated_transfer.report.findings import mean_of_output
from medtransfer.studies.truncated_transfer.report.names import condition_title
from medtransfer.studies.truncated_transfer.report.results import Results
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


def paper_values_table(results: Results, rows: Sequence[Row], costs: Mapping[str, Any]) -> Table:
    """Return the numbers in the paper's text that have a counterpart here, and how many have none."""
    ours = _settings(results.config) | _example() | _results(results, rows, costs)
    body = tuple(
        (
            TableCell(_GROUPS[row.group]),
            TableCell(row.item.replace("_", " ")),
            TableCell(f"{row.value:,g}" if row.value < 1e4 else f"{row.value:,.0f}"),
            ours[row.group, row.item],
        )
        for row in paper_values().itertuples()
        if (row.group, row.item) in ours
    )
    missing = len(paper_values()) - len(body)
    left_out = (
        f"{missing} more numbers have no counterpart here: they are about other data, or about a variant or finding "
        "that was not run."
    )
    return Table(
        "paper-values",
        "The numbers in the paper’s text",
        "The paper’s results are bar charts without numbers; only these are printed. Ours: this profile’s setting or "
        "result of the same meaning, on our data.",
        (*labels("About", "Number"), Column("paper"), Column("ours")),
        body,
        ("By our count, Dens-T1 has 94.6 % fewer parameters; the printed 79 % is the saving of Dens-T2.", left_out),
    )


def _settings(config: TruncatedTransferConfig) -> dict[tuple[str, str], TableCell]:
    train = config.train
    ours = {
        "lr": TableCell(
            f"{train.optimizer.lr:g}", "protocol “paper”" if "paper" in config.protocols else "before tuning"
        ),
        "batch_size": TableCell(str(train.batch_size)),
        "repeats": TableCell(str(len(config.seeds))),
        "input": TableCell(str(config.augment.crop)),
    }
    if train.epochs:
        ours["epochs"] = TableCell(str(train.epochs))
    if isinstance(train.schedule, PlateauSchedule):
        ours["lr_factor"] = TableCell(f"{train.schedule.factor:g}")
    return {("training", name): text for name, text in ours.items()}


def _example() -> dict[tuple[str, str], TableCell]:
    """Return the example of Fig. 2: our definition has the paper's counts; the areas are means over all placements."""
    rows = paper_values().query("group == 'example'")
    counts = {row.item: TableCell(f"{row.value:g}") for row in rows.itertuples() if not row.item.startswith("C")}
    counts |= {row.item: TableCell(f"{row.value:g}") for row in rows.itertuples() if row.item.endswith("_top")}
    for name, placements in example().items():
        auroc, precision, _ = placements["mean over all placements"]
        counts |= {
            f"{name}_{metric}": TableCell(number(value), "mean over placements")
            for metric, value in (("auroc", auroc), ("auprc", precision))
        }
    return {("example", item): text for item, text in counts.items()}


def _results(results: Results, rows: Sequence[Row], costs: Mapping[str, Any]) -> dict[tuple[str, str], TableCell]:
    """Return our largest sd over repeats by kind of task, the saving of Dens-T1, and TL − RI of ResNet-50."""
    result = {}
    for item, several in (("chexpert_std_max", True), ("covid_std_max", False)):
        spread = [
            row["sd"]
            for row in rows
            if not is_missing(row["sd"])
            and bool(results.config.tasks[row["condition"].partition("-")[0]].findings) == several
        ]
        if spread:
            result[item] = TableCell(
                number(max(spread)), "tasks of several findings" if several else "tasks of one class"
            )
    networks = costs["networks"]
    if {"densenet121", "densenet121_t1"} <= networks.keys():
        share = 1 - networks["densenet121_t1"]["parameters"] / networks["densenet121"]["parameters"]
        result["dens_t1_param_reduction_pct"] = TableCell(number(100 * share, digits=1))
    for (variant, condition), cell in results.cells.items():
        random = results.cells.get(("resnet50-random", condition))
        if variant == "resnet50-transfer" and _PNEUMOTHORAX in cell.outputs and random:
            gain = mean_of_output(cell, _PNEUMOTHORAX) - mean_of_output(random, _PNEUMOTHORAX)
            result.setdefault(
                "resnet50_TL_minus_RI_on_Pt_auprc_pct",
                TableCell(signed(100 * gain, digits=1), condition_title(condition)),
            )
    return {("result", item): text for item, text in result.items()}
