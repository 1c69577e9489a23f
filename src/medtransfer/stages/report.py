"""``medtransfer report STUDY``: the paper's tables rebuilt, paper value beside ours, as one page and as Markdown."""

from argparse import Namespace
from typing import Any

from medtransfer import paths
from medtransfer.data.packed import PackedDataset
from medtransfer.evaluation.predictions import read_predictions
from medtransfer.files import read_json
from medtransfer.params import Params, load_params
from medtransfer.reporting.cells import ReportSettings
from medtransfer.reporting.collect import collect
from medtransfer.reporting.page import write_report
from medtransfer.training.progress import console


def run(options: Namespace) -> None:
    """Write ``out/report/index.html`` and ``results.md``."""
    params = load_params()
    study = params.attentive_transfer
    folder = paths.OUT / options.study
    content = collect(
        read_predictions(folder / "predictions.parquet"),
        study_folder=folder,
        gate=read_json(paths.GATE),
        datasets={name: _describe(params, name) for name in params.datasets},
        registry=read_json(folder / "champion.json"),
        profile=params.profile,
        config=ReportSettings(
            positive=study.positive,
            networks=study.networks,
            chains=study.chains,
            outside=study.outside,
            threshold=params.evaluation.threshold,
            pretraining_runs=len(study.pretrain_seeds),
            draws=params.evaluation.draws,
            seed=params.evaluation.seed,
        ),
    )
    write_report(paths.REPORT, content)
    console.print(f"report: {paths.workspace() / paths.REPORT / 'index.html'}")


def _describe(params: Params, name: str) -> dict[str, Any]:
    """What the report says about a data set: its dataset.json, and images and patients of each split."""
    data = PackedDataset.open(paths.dataset(name))
    groups = data.manifest.groupby("split")["patient_id"]
    splits = {split: {"images": len(ids), "patients": ids.nunique()} for split, ids in groups}
    return data.meta.model_dump(mode="json") | {"phantoms": params.datasets[name].phantoms, "splits": splits}
