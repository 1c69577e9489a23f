"""The report of the visual-transfer study."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from medtransfer.reporting.content import ReportContent
    from medtransfer.reporting.input import ReportInput
    from medtransfer.studies.visual_transfer.config import VisualTransferConfig


def build(data: "ReportInput[VisualTransferConfig]") -> "ReportContent":
    """Compute the content of the report; errors as in ``collect``."""
    from medtransfer.studies.visual_transfer.report.collect import collect

    return collect(data)
