"""``medtransfer report STUDY``: the paper's tables rebuilt, paper value beside ours, as one page and as Markdown."""

from argparse import Namespace
from collections.abc import Iterable
from importlib import import_module
from typing import Any

from medtransfer import paths
from medtransfer.data.packed import PackedDataset
from medtransfer.evaluation.predictions import read_predictions
from medtransfer.files import read_json, write_text
from medtransfer.params import Params, load_params
from medtransfer.reporting.content import summary_json, summary_of
from medtransfer.reporting.input import ReportInput
from medtransfer.reporting.origin import Origin
from medtransfer.reporting.page import write_report
from medtransfer.studies.truncated_transfer.config import TruncatedTransferConfig
from medtransfer.training.progress import console


def run(options: Namespace) -> None:
    """Write ``index.html``, ``results.md`` and, for the front page, ``content.json`` below ``out/report/<study>``."""
    params, folder = load_params(), paths.REPORT / options.study
    config, study = getattr(params, options.study), paths.OUT / options.study
    champions = study / "results" / "champions.json"
    data: ReportInput[Any] = ReportInput(
        folder=study,
        predictions=read_predictions(study / "results" / "predictions.parquet"),
        origin=_origin(params, _datasets(config, params)),
        champions=read_json(champions) if champions.exists() else (),
        config=config,
        evaluation=params.evaluation,
        profile=params.profile,
    )
    content = import_module(f"medtransfer.studies.{options.study}.report").build(data)
    write_report(folder, content)
    write_text(folder / "content.json", summary_json(summary_of(options.study, content)))
    console.print(f"report: {paths.workspace() / folder / 'index.html'}", markup=False, soft_wrap=True)


def _datasets(config: Any, params: Params) -> Iterable[str]:
    """The data sets that a study uses: all of the profile, or those of its tasks and of what is pretrained here."""
    if not isinstance(config, TruncatedTransferConfig):
        return params.datasets
    pretrained = any(start.kind == "train" for start in config.start.values())
    used = [*([config.pretrain.dataset] if pretrained else []), *(task.dataset for task in config.tasks.values())]
    return dict.fromkeys(used)


def _origin(params: Params, names: Iterable[str]) -> Origin:
    datasets = {name: _dataset(params, name) for name in names}
    return Origin(datasets, gate=read_json(paths.GATE))


def _dataset(params: Params, name: str) -> dict[str, Any]:
    """What a report says about a data set: dataset.json, images and patients a split, the day that splits it."""
    data = PackedDataset.open(paths.dataset(name))
    groups = data.manifest.groupby("split")["patient_id"]
    splits = {split: {"images": len(ids), "patients": ids.nunique()} for split, ids in groups}
    settings = params.dataset(name)
    chosen = {"phantoms": settings.phantoms, "until": settings.split.until, "splits": splits}
    return data.meta.model_dump(mode="json") | chosen
