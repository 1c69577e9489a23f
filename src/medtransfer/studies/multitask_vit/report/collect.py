"""The content of the report: the answer in one sentence, the parts of every module, and what they do not say."""

from collections.abc import Mapping

from medtransfer import paths
from medtransfer.data.packed import PackedDataset
from medtransfer.evaluation.cells import Cell
from medtransfer.evaluation.claims import combine
from medtransfer.evaluation.prevalence import OverPrevalence, over_prevalence
from medtransfer.evaluation.summary import Sample, brief
from medtransfer.reporting.content import Figure, ReportContent, Table
from medtransfer.reporting.formatting import bounds, interval, number, signed
from medtransfer.reporting.input import ReportInput
from medtransfer.reporting.origin import champions_of, provenance_table, uncommitted
from medtransfer.reporting.prevalence import prevalence_figure, prevalence_table
from medtransfer.reporting.records import provenance, recorded_fits
from medtransfer.studies.multitask_vit import study
from medtransfer.studies.multitask_vit.config import MultitaskVitConfig
from medtransfer.studies.multitask_vit.paper.values import PREVALENCE, printed
from medtransfer.studies.multitask_vit.report.calibration import calibration_figure, calibration_table
from medtransfer.studies.multitask_vit.report.diagnosis import classes_table, diagnosis_table
from medtransfer.studies.multitask_vit.report.differences import differences_table
from medtransfer.studies.multitask_vit.report.failures import failures_figure, failures_table
from medtransfer.studies.multitask_vit.report.floors import floors_table
from medtransfer.studies.multitask_vit.report.groups import hospitals_table, source_table, views_table
from medtransfer.studies.multitask_vit.report.hospitals import rotation_table
from medtransfer.studies.multitask_vit.report.maps import agreement_table, maps_figure, read_facts
from medtransfer.studies.multitask_vit.report.networks import networks_figure
from medtransfer.studies.multitask_vit.report.paper_tables import paper_tables, single_task
from medtransfer.studies.multitask_vit.report.results import Results, covid_of, results
from medtransfer.studies.multitask_vit.report.severity import masks_table, severity_table
from medtransfer.studies.multitask_vit.report.significance import significance_table

SHOWN_SEEDS = 3
"""Seeds in the figure of prevalence, each a line."""


def collect(data: ReportInput[MultitaskVitConfig]) -> ReportContent:
    """Compute the content of the report."""
    packed = _packed(data.config)
    manifests = {name: one.manifest for name, one in packed.items()}
    found = results(data.predictions, data.config, data.evaluation, manifests)
    maps, failures = data.results / "explanations", failures_table(found)
    facts, drawn = read_facts(maps), data.origin.drawn
    rarer = _over_prevalence(found)
    fits = provenance(recorded_fits(data.folder, (*data.config.backbones, *data.config.variants)))
    return ReportContent(
        title="Multi-task ViT: diagnosis and severity from a chest X-ray feature corpus",
        about=f"{study.PAPER}: a backbone that knows common findings, a transformer on its feature map, and two heads.",
        **data.parts(),
        headline=(answer(found),),
        champions=champions_of(data.champions, fits, lambda variant, condition: {"Network": variant}),
        results=_with_rows(
            diagnosis_table(found),
            severity_table(found),
            differences_table(found),
            floors_table(found),
            classes_table(found),
            significance_table(found),
            calibration_table(found),
            masks_table(found, facts.get("lungs", {})),
            rotation_table(found),
            hospitals_table(found),
            views_table(found),
            source_table(found),
            *_prevalence_tables(found, rarer),
            failures,
            *agreement_table(facts),
            *paper_tables(found),
        ),
        figures=(
            *_figures(found, rarer),
            *maps_figure(maps, facts, phantoms=drawn(data.config.finetune.label.dataset)),
            *_failures(failures, packed, data),
        ),
        provenance=(provenance_table(fits),),
        limits=(*_limits(found), *uncommitted(fits)),
    )


def _with_rows(*tables: Table) -> tuple[Table, ...]:
    """Return the tables in which something was run."""
    return tuple(table for table in tables if table.rows)


def answer(found: Results) -> str:
    """Return what the main network reached, and what a second task brought it, as one plain sentence."""
    parts = []
    diagnosis, score = found.cell(found.main, "probability"), found.cell(found.main, "value")
    if diagnosis:
        reached = (
            f"tells {len(diagnosis.outputs)} classes apart with a mean AUROC of {_said(diagnosis.samples['auroc'])}"
        )
        parts.append(reached + _beside(diagnosis, "label", "auroc", found))
    if score:
        reached = f"scores severity from 0 to 6 with an MSE of {_said(score.samples['mse'])}"
        parts.append(reached + _beside(score, "zones", "mse", found))
    did = " and ".join(parts) or "was not predicted"
    return f"On test images of sources that it was trained on, {found.main} {did}{_held_out(found)}."


def _beside(cell: Cell, task: str, metric: str, found: Results) -> str:
    """Return the difference to the network with this task alone, in brackets; empty where there is none."""
    variant = single_task(task, found.config)
    other = found.cell(variant, cell.kind) if variant else None
    if other is None or other.variant == cell.variant:
        return ""
    gain = combine({cell.key: 1.0, other.key: -1.0}, {cell.key: cell, other.key: other}, metric)
    return f" ({_said(gain)} against {other.variant} alone)"


def _held_out(found: Results) -> str:
    if found.rotated.empty:
        return "; no hospital was held out"
    return "; hospitals held out in turn are graded in a table of their own"


def _said(one: Sample) -> str:
    row = brief(one)
    write = signed if one.contrast else number
    return " ".join(part for part in (write(row["mean"]), interval(*bounds(row), difference=one.contrast)) if part)


def _packed(config: MultitaskVitConfig) -> dict[str, PackedDataset]:
    return {name: PackedDataset.open(paths.dataset(name)) for name in study.datasets(config)}


def _failures(
    table: Table, packed: Mapping[str, PackedDataset], data: ReportInput[MultitaskVitConfig]
) -> tuple[Figure, ...]:
    name = data.config.finetune.label.dataset
    return failures_figure(table, packed[name], phantoms=data.origin.drawn(name)) if name in packed else ()


def _over_prevalence(found: Results) -> dict[str, OverPrevalence]:
    """Return what the main network's operating point for COVID-19 gives over prevalence, by seed."""
    cell = found.cell(found.main, "probability")
    if cell is None:
        return {}
    output = covid_of(cell.outputs)
    table = found.table[(found.table["variant"] == found.main) & (found.table["output"] == output)]
    test = table[table["split"] == "test"]
    return {
        f"seed {seed}": over_prevalence(
            found.validation(cell, seed, output), test[test["seed"] == seed], draws=found.evaluation.draws
        )
        for seed in cell.seeds[:SHOWN_SEEDS]
    }


def _prevalence_tables(found: Results, rarer: dict[str, OverPrevalence]) -> tuple[Table, ...]:
    if not rarer:
        return ()
    return (prevalence_table("prevalence", "Where COVID-19 is rarer", _about(found), rarer, first="Seed"),)


def _figures(found: Results, rarer: dict[str, OverPrevalence]) -> tuple[Figure, ...]:
    curves = calibration_figure(found)
    if curves is None:
        return (networks_figure(found),)
    over = prevalence_figure("over-prevalence", "Where COVID-19 is rarer", _about(found), rarer)
    return networks_figure(found), curves, over


def _about(found: Results) -> str:
    paper = printed()
    share = paper[PREVALENCE, "external", "covid_prevalence_pct"]
    npv, negatives = (
        paper[PREVALENCE, f"external_at_{share:g}", f"{name}_pct"] for name in ("npv", "predicted_negative")
    )
    return (
        f"{found.main}, thresholds with a sensitivity of at least 0.80 on validation images. The paper prints an NPV "
        f"of {npv:g} % and {negatives:g} % predicted negatives at a prevalence of {share:g} %."
    )


def _limits(found: Results) -> tuple[str, ...]:
    pooled = "All sources are pooled: nothing is said about a hospital whose images were not trained on."
    rotated = "Only the severity was graded on hospitals that were held out; the diagnosis has no such row."
    return (
        pooled if found.rotated.empty else rotated,
        "The paper's tables are not at hand, only the numbers that its text repeats.",
        "Networks for comparison are rows here when the parameters have them; models of related work are not built.",
    )
