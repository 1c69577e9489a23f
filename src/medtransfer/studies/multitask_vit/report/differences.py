"""What every variant adds to the paper's model or takes from it, with chance in training inside the interval."""

from medtransfer.evaluation.claims import combine
from medtransfer.evaluation.predictions import Kind
from medtransfer.evaluation.summary import brief
from medtransfer.reporting.content import Column, Table, TableCell
from medtransfer.reporting.formatting import MISSING, READING, estimate, labels, with_caveat
from medtransfer.studies.multitask_vit.config import MultitaskVitConfig
from medtransfer.studies.multitask_vit.report.results import Results

COMPARED: tuple[tuple[Kind, str, str], ...] = (
    ("probability", "auroc", "Mean over the classes AUROC"),
    ("value", "mse", "Severity score 0–6 MSE"),
)


def differences_table(found: Results) -> Table:
    """Return network − main network on the same test images, of every network but the main one."""
    others = {
        name: [_difference(found, name, kind, metric) for kind, metric, _ in COMPARED]
        for name in found.config.variants
        if name != found.main
    }
    rows = tuple(
        (with_caveat(name, trained_once(name, found.config)), *cells)
        for name, cells in others.items()
        if any(cell != MISSING for cell in cells)
    )
    intro = (
        f"Network − {found.main}, paired by image and seed; an AUROC above zero and an MSE below zero are better than "
        f"{found.main}. An interval that includes zero shows no difference. {READING}"
    )
    columns = (*labels("Network"), *(Column(title) for _, _, title in COMPARED))
    return Table("differences", f"Differences to {found.main}", intro, columns, rows)


def trained_once(variant: str, config: MultitaskVitConfig) -> str:
    """Return the trained backbones by which a variant and the main one differ; empty where there are none.

    A backbone has one seed, so that chance in its training is in no interval.
    """
    pair = [config.variants[name] for name in (variant, config.main)]
    used = [one.backbone if one.pretrained else "" for one in pair]
    trained = [name for name in used if name and config.backbones[name].findings]
    return f"backbone {' and '.join(trained)} trained once" if used[0] != used[1] and trained else ""


def _difference(found: Results, variant: str, kind: Kind, metric: str) -> TableCell:
    main, other = found.cell(found.main, kind), found.cell(variant, kind)
    if main is None or other is None:
        return MISSING
    both = {other.key: other, main.key: main}
    return estimate(brief(combine({other.key: 1.0, main.key: -1.0}, both, metric)), difference=True)
