"""Assemble the report of the visual-transfer study; no file is written here."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from medtransfer.evaluation.claims import Judged, Judgement
from medtransfer.evaluation.summary import brief
from medtransfer.files import read_json
from medtransfer.reporting.claims_table import claims_table
from medtransfer.reporting.content import Column, ReportContent, Table
from medtransfer.reporting.formatting import auroc_sentence, interval, signed
from medtransfer.reporting.input import ReportInput
from medtransfer.reporting.origin import champions_of, provenance_table, uncommitted
from medtransfer.reporting.records import READY_MADE, provenance, recorded_fits
from medtransfer.studies.visual_transfer import study
from medtransfer.studies.visual_transfer.claims import AUROC, NEARER, SHARE, key
from medtransfer.studies.visual_transfer.config import VisualTransferConfig
from medtransfer.studies.visual_transfer.report.figures import figures
from medtransfer.studies.visual_transfer.report.results import Results, results
from medtransfer.studies.visual_transfer.report.tables import attribution_table, columns_table, tried_table
from medtransfer.studies.visual_transfer.titles import column_title

ABOUT = (
    "Networks from scratch, on frozen bases and with all layers trained, that tell COVID-19 from other findings on "
    "chest X-rays: do bases pretrained nearer the domain score better, and do they look at the lungs? A reproduction "
    "of the study of West et al. 2020."
)
GLOSSARY = {
    "Grad-CAM": "where the last feature map increases the output (Selvaraju et al. 2017)",
    "saliency": "how much the output changes with each pixel (Simonyan et al. 2014)",
    "frozen base": "a pretrained network whose weights and batch-norm statistics stay; only the head above it learns",
}


def collect(data: ReportInput[VisualTransferConfig]) -> ReportContent:
    """Compute the content of the report; the side files are in ``explanations/``.

    Raises:
        DataError: the predictions table or a record is not valid.
    """
    folder, config = data.results / "explanations", data.config
    facts = read_json(folder / "explanations.json")
    found = results(data.predictions, config, data.evaluation, facts, _absent(data.folder, config))
    scores, shares = found.judged(AUROC), found.judged(SHARE)
    recorded = recorded_fits(data.folder, config.variants)
    fits = provenance(recorded)
    return ReportContent(
        title="Visual transfer: does pretraining nearer the domain look at the lungs?",
        about=ABOUT,
        **data.parts(),
        headline=headline(scores, shares, found),
        champions=champions_of(data.champions, fits, lambda variant, condition: {"Column": column_title(variant)}),
        results=tuple(_tables(found, scores, shares)),
        figures=figures(found, folder),
        provenance=(provenance_table(fits),),
        limits=(*_limits(config), *uncommitted(fits)),
        glossary=GLOSSARY,
    )


def headline(scores: Sequence[Judged], shares: Sequence[Judged], found: Results) -> tuple[str, ...]:
    """Return the answer: whether pretraining nearer the domain moved attribution into the lungs, and the score.

    Where no two columns differ in their pretraining alone, the AUROC of every column.
    """
    asked = [by_name[AUROC].estimate for claim, by_name in scores if claim.key.startswith(NEARER)]
    columns = [(name, found.cells["test"].get(key(name))) for name in found.config.columns]
    values = [(f"{column_title(name)}:", brief(cell.samples[AUROC])) for name, cell in columns if cell]
    return (
        _said("the share of Grad-CAM heat inside the lungs", SHARE, shares),
        _said("the AUROC on test images", AUROC, scores),
        *([auroc_sentence(values)] if values and not any(one is not None for one in asked) else []),
    )


def _said(what: str, about: str, judged: Sequence[Judged]) -> str:
    parts = []
    for claim, by_name in judged:
        one = by_name[about]
        if claim.key.startswith(NEARER) and one.estimate is not None:
            how = "with a frozen base" if claim.key.endswith("frozen") else "with all layers trained"
            number = f"{signed(one.estimate)} {interval(one.low, one.high, difference=True)}".strip()
            parts.append(f"{number} {how} ({_moved(one)})")
    if not parts:
        return (
            f"Pretraining nearer the domain: {what} is not compared, no two columns differ in their pretraining alone."
        )
    return f"Pretraining nearer the domain − on natural images, {what}: {', '.join(parts)}."


def _moved(one: Judgement) -> str:
    words = {"holds": "it rose", "does not hold": "it fell", "no difference": "no difference"}
    return words.get(one.verdict, f"not decidable: {one.reason}")


def _tables(found: Results, scores: Sequence[Judged], shares: Sequence[Judged]) -> list[Table]:
    tables = [columns_table(found), attribution_table(found)]
    about = "Each claim is a difference on the test images that must be above zero; the paper’s value is the same "
    about += "difference of its printed validation AUCs. Hover over a claim to see how it is computed."
    table = claims_table(scores, {AUROC: Column("AUROC, ours")}, deciding=AUROC, intro=about, paper=True)
    tables.append(table)
    if found.shares:
        where = claims_table(
            shares, {SHARE: Column("share, ours")}, deciding=SHARE, intro="The same for the share inside the lungs."
        )
        tables.append(replace(where, key="claims-attribution", title="The paper’s claims on attribution"))
    return [one for one in (*tables, tried_table(found)) if one]


def _absent(folder: Path, config: VisualTransferConfig) -> dict[str, str]:
    """Return why bases have no weights, by name."""
    found = {}
    for name in config.bases:
        record = folder / study.base(name).records.relative_to(Path("out") / study.NAME) / READY_MADE
        why = read_json(record).get("absent") if record.exists() else "its phase has not run"
        if why:
            found[name] = str(why)
    return found


def _limits(config: VisualTransferConfig) -> tuple[str, ...]:
    seeds = len(config.seeds)
    return (
        f"Every fit was run with {seeds} {'seed' if seeds == 1 else 'seeds'}"
        + ("; with one, no interval includes the random variation of training." if seeds == 1 else ".")
        + " Every base was pretrained once: no interval includes the variation of pretraining.",
        "A frozen base sees the same few views of each image in turn; other columns see a new view in every epoch.",
        "The paper has no test images of its own; its AUC is that of the validation images that chose its settings.",
        "The positive class and all others come from one collection of many hospitals: the audit says whether source "
        "or border give it away, this page does not.",
        "Intervals are per comparison; none is adjusted for their number.",
    )
