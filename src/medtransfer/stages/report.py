"""``medtransfer report STUDY``: the paper's tables rebuilt, paper value beside ours, as one page and as Markdown."""

from argparse import Namespace
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from medtransfer import paths
from medtransfer.data.packed import PackedDataset
from medtransfer.evaluation.predictions import read_predictions
from medtransfer.files import read_json, write_text
from medtransfer.params import Params, load_params
from medtransfer.reporting.content import ReportContent, summary_json, summary_of
from medtransfer.reporting.origin import Origin
from medtransfer.reporting.page import write_report
from medtransfer.studies.attentive_transfer.report.collect import collect
from medtransfer.studies.attentive_transfer.report.results import ReportSettings
from medtransfer.studies.truncated_transfer.report.collect import collect as collect_truncated
from medtransfer.training.progress import console


def run(options: Namespace) -> None:
    """Write ``index.html``, ``results.md`` and, for the front page, ``content.json`` below ``out/report/<study>``."""
    params, folder = load_params(), paths.REPORT / options.study
    content = {"attentive_transfer": _attentive, "truncated_transfer": _truncated}[options.study](
        params, paths.OUT / options.study
    )
    write_report(folder, content)
    write_text(folder / "content.json", summary_json(summary_of(options.study, content)))
    console.print(f"report: {paths.workspace() / folder / 'index.html'}", markup=False, soft_wrap=True)


def _attentive(params: Params, folder: Path) -> ReportContent:
    study = params.attentive_transfer
    compared = {"sstl_m": study.sstl_m, **{name: study.recipes[name] for name in study.methods}}
    return collect(
        read_predictions(folder / "predictions.parquet"),
        study_folder=folder,
        origin=_origin(params, params.datasets),
        registry=read_json(folder / "champion.json"),
        config=ReportSettings(
            positive=study.positive,
            networks=study.networks,
            chains=study.chains,
            outside=study.outside,
            threshold=params.evaluation.threshold,
            pretraining_runs=len(study.pretrain_seeds),
            budgets={step: recipe.train.model_dump(mode="json") for step, recipe in compared.items()},
            draws=params.evaluation.draws,
            seed=params.evaluation.seed,
        ),
    )


def _truncated(params: Params, folder: Path) -> ReportContent:
    study = params.truncated_transfer
    pretrained = any(start.kind == "train" for start in study.start.values())
    used = [*([study.pretrain.dataset] if pretrained else []), *(task.dataset for task in study.tasks.values())]
    return collect_truncated(
        read_predictions(folder / "predictions.parquet"),
        study_folder=folder,
        origin=_origin(params, dict.fromkeys(used)),
        config=study,
        evaluation=params.evaluation,
    )


def _origin(params: Params, names: Iterable[str]) -> Origin:
    datasets = {name: _dataset(params, name) for name in names}
    return Origin(datasets, gate=read_json(paths.GATE), profile=params.profile)


def _dataset(params: Params, name: str) -> dict[str, Any]:
    """What a report says about a data set: dataset.json, images and patients a split, the day that splits it."""
    data = PackedDataset.open(paths.dataset(name))
    groups = data.manifest.groupby("split")["patient_id"]
    splits = {split: {"images": len(ids), "patients": ids.nunique()} for split, ids in groups}
    settings = params.dataset(name)
    chosen = {"phantoms": settings.phantoms, "until": settings.split.until, "splits": splits}
    return data.meta.model_dump(mode="json") | chosen
