"""``medtransfer report-tuning NAME``: the page of a search, offline."""

from argparse import Namespace

from medtransfer import paths
from medtransfer.params import load_params
from medtransfer.reporting.page import write_report
from medtransfer.stages.report import origin
from medtransfer.studies import module
from medtransfer.training.progress import console
from medtransfer.tuning.page import content
from medtransfer.tuning.records import read_adoption, read_confirmation
from medtransfer.tuning.results import read_result


def run(options: Namespace) -> None:
    """Write ``index.html``, ``results.md`` and the figures below ``out/report/tuning-<name>``."""
    params, result = load_params(), read_result(options.name)
    study = result.config.study
    source = origin(params, module(study, "study").datasets(params.study(study)))
    page = content(result, source, read_adoption(options.name), read_confirmation(options.name))
    folder = paths.tuning_report(options.name)
    write_report(folder, page)
    console.print(f"report: {paths.workspace() / folder / 'index.html'}", markup=False, soft_wrap=True)
