"""The report of the multi-task ViT study: diagnosis, severity score and zones of every network on test images."""

from medtransfer.reporting.content import ReportContent
from medtransfer.reporting.input import ReportInput
from medtransfer.studies.multitask_vit.config import MultitaskVitConfig


def build(data: ReportInput[MultitaskVitConfig]) -> ReportContent:
    """Compute everything that the report says."""
    from medtransfer.studies.multitask_vit.report.collect import collect

    return collect(data)
