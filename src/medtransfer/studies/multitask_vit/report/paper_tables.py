"""Tables 3–14 of the paper in shape: its numbers where the text prints them, and ours beside them."""

from collections.abc import Callable
from dataclasses import dataclass, field

from medtransfer.evaluation.summary import brief
from medtransfer.reporting.content import Column, Table, TableCell
from medtransfer.reporting.formatting import READING, estimate, labels, number
from medtransfer.studies.multitask_vit.config import MultitaskVitConfig
from medtransfer.studies.multitask_vit.paper.values import DIAGNOSIS, HOSPITALS, SEVERITY, WORST, printed
from medtransfer.studies.multitask_vit.report.results import NOT_AVAILABLE, Results

OURS = "ours, pooled test images"
DETAILS = {
    DIAGNOSIS: {
        "auroc": "auc",
        "sensitivity": "sensitivity_pct",
        "specificity": "specificity_pct",
        "accuracy": "accuracy_pct",
    },
    SEVERITY: {"mse": "mse", "mae": "mae", "pearson": "cc", "r2": "r2"},
}
"""Task → our metric → the paper's."""
TITLES = {"auroc": "AUC", "mse": "MSE", "mae": "MAE", "pearson": "CC", "r2": "R²"}
RELATED_SEVERITY = 10
Match = Callable[[MultitaskVitConfig, str], bool]
"""Whether a variant of these parameters is what a row is about."""


@dataclass(frozen=True)
class Line:
    """A row of a table: the paper's name, which variant it is here, or why there is none.

    ``model`` marks the paper's own model, of which the text prints numbers.
    """

    title: str
    match: Match | None = None
    why: str = ""
    model: bool = False


@dataclass(frozen=True)
class Pair:
    """Two tables with the same rows, the first on diagnosis and the second on severity."""

    first: int
    about: str
    lines: tuple[Line, ...]
    severity: tuple[Line, ...] = field(default=())
    """Of the second table, where its rows are others."""


_NETWORKS = (
    ("ResNet-50", "resnet50"),
    ("ResNet-152 (printed ResNet-512)", "resnet152"),
    ("DenseNet-121", "densenet121"),
    ("EfficientNet-B7", "tf_efficientnet_b7"),
    ("NASNet-A-Large", "nasnetalarge"),
    ("SE-Net-154", "legacy_senet154"),
    ("ViT-B-16", "vit_base_patch16_224"),
    ("R50-ViT-B-16", "vit_base_r50_s16_224"),
)
"""The paper's networks for comparison, and timm's names."""


def _pairs() -> tuple[Pair, ...]:
    whole = Line("proposed model", _is_main, model=True)
    compared = tuple(Line(title, _plain(backbone)) for title, backbone in _NETWORKS)
    ablated = (
        Line("without PCAM", _without("pcam")),
        Line("without Transformer", _without("transformer")),
        Line("without positional embedding", _without("positions")),
    )
    single = [Line("single-task", _single(task)) for task in ("label", "zones")]
    return (
        Pair(3, "multi-task against single-task", (whole, single[0]), (whole, single[1])),
        Pair(7, "against CNN and Transformer networks", (whole, *compared)),
        Pair(
            9, "against models of related work", (whole, *map(_unbuilt, _DIAGNOSIS)), (whole, *map(_unbuilt, _SEVERITY))
        ),
        Pair(11, "without one part", (whole, *ablated)),
        Pair(
            13,
            "without pre-training of the backbone",
            (whole, Line("without pre-training", _without("pretrained"))),
        ),
    )


_DIAGNOSIS = (
    ("COVID-Net", "the paper does not describe its layers"),
    ("CoroNet", "described as Xception from ImageNet; its head and training are not described"),
    ("Deep-COVID", "described as standard CNNs with the last layer fine-tuned; which one is compared is not said"),
    ("DarkCOVIDNet", "derived from DarkNet-19; its layers are not described"),
)
_SEVERITY = (
    ("Cohen et al.", "needs a network pretrained on seven pathologies that is not described"),
    ("CheXNet (Kwon et al.)", "its training on severity is not described"),
    ("PXS-Siamese", "needs pairs of images and weights of its own pretraining"),
)


def paper_tables(found: Results) -> tuple[Table, ...]:
    """Return Tables 3 to 14, two by two: diagnosis, severity.

    A network that was not run has no row but is named below the table; a table without a number of ours has no rows.
    """
    made = {}
    for pair in _pairs():
        made[pair.first] = _comparison(pair.first, pair.about, pair.lines, DIAGNOSIS, found)
        made[pair.first + 1] = _comparison(pair.first + 1, pair.about, pair.severity or pair.lines, SEVERITY, found)
    made[5], made[6] = _details(5, DIAGNOSIS, found), _details(6, SEVERITY, found)
    return tuple(made[key] for key in sorted(made))


def _comparison(key: int, about: str, lines: tuple[Line, ...], task: str, found: Results) -> Table:
    metric = next(iter(DETAILS[task]))
    ours = {line: _ours(line, task, metric, found) for line in lines}
    measured = any(cell and not line.why for line, cell in ours.items())
    rows = tuple(
        (
            TableCell(line.title),
            *(_printed(task, place, metric) if line.model else NOT_AVAILABLE for place in HOSPITALS),
            cell,
        )
        for line, cell in ours.items()
        if cell and measured
    )
    title = f"Table {key}: {'diagnosis' if task == DIAGNOSIS else 'severity'} {about}"
    what = "mean AUC over the labels" if task == DIAGNOSIS else "MSE of the severity score"
    columns = (*labels("Model"), *(Column(place, "paper") for place in HOSPITALS), Column(TITLES[metric], OURS))
    notes = [f"{line.title} is not built: {line.why}." for line in lines if line.why]
    if absent := [line.title for line, cell in ours.items() if not cell]:
        notes.append(f"Not run with these parameters: {', '.join(absent)}.")
    if key == RELATED_SEVERITY:
        notes.append(_worst())
    return Table(f"table-{key}", title, f"In shape: {what}. {_CELLS} {READING}", columns, rows, tuple(notes))


_CELLS = (
    "A cell that the paper's text does not repeat is not available. Ours are other images and other hospitals; all our "
    "rows have the same steps, images per step and optimiser."
)


def _worst() -> str:
    value, low, high = (printed()[*WORST, f"mse{part}"] for part in ("", "_ci95_low", "_ci95_high"))
    return f"The text prints one MSE, {value:g} ({low:g} to {high:g}), without saying of which model and hospital."


def _details(key: int, task: str, found: Results) -> Table:
    line = Line("", _is_main)
    rows = tuple(
        (
            TableCell(TITLES.get(metric, metric.capitalize())),
            *(_printed(task, place, metric) for place in HOSPITALS),
            cell,
        )
        for metric in DETAILS[task]
        if (cell := _ours(line, task, metric, found))
    )
    title = f"Table {key}: the proposed model, {'diagnosis' if task == DIAGNOSIS else 'severity'}"
    how = "The paper's threshold reads the test labels, ours is fixed on validation. "
    columns = (*labels("Metric"), *(Column(place, "paper") for place in HOSPITALS), Column("value", OURS))
    what = f"Means over the labels. {how}" if task == DIAGNOSIS else "Of the severity score. "
    return Table(f"table-{key}", title, f"{what}{_CELLS} {READING}", columns, rows)


def _printed(task: str, place: str, metric: str) -> TableCell:
    name = DETAILS[task][metric]
    value = printed().get((task, place, name))
    return NOT_AVAILABLE if value is None else TableCell(number(value / 100 if name.endswith("_pct") else value))


def _ours(line: Line, task: str, metric: str, found: Results) -> TableCell | None:
    """Return our number, or that there is no such network; None where it was not run."""
    if line.why:
        return TableCell("not built", hover=line.why)
    variant = _variant(line, found.config)
    cell = found.cell(variant, "probability" if task == DIAGNOSIS else "value") if variant else None
    return estimate(brief(cell.samples[metric])) if cell else None


def single_task(task: str, config: MultitaskVitConfig) -> str | None:
    """Return the variant that is the paper's model with one task alone; None where the parameters have none."""
    return _variant(Line("", _single(task)), config)


def _variant(line: Line, config: MultitaskVitConfig) -> str | None:
    return next((name for name in config.variants if line.match and line.match(config, name)), None)


def _unbuilt(model: tuple[str, str]) -> Line:
    return Line(model[0], why=model[1])


def _is_main(config: MultitaskVitConfig, variant: str) -> bool:
    return _both(config, variant) and not config.lacks(variant)


def _both(config: MultitaskVitConfig, variant: str) -> bool:
    return len(config.variants[variant].tasks) == 2


def _single(task: str) -> Match:
    return lambda config, variant: config.variants[variant].tasks == (task,) and not config.lacks(variant)


def _without(part: str) -> Match:
    """Match a multi-task variant that lacks this part of the paper's model and no other."""
    return lambda config, variant: _both(config, variant) and config.lacks(variant) == {part}


def _plain(network: str) -> Match:
    """Match a network with both heads on its own feature map."""

    def match(config: MultitaskVitConfig, variant: str) -> bool:
        chosen = config.variants[variant]
        own = config.backbones[chosen.backbone].network == network
        return own and not chosen.transformer and _both(config, variant)

    return match
