"""The report of the truncated-transfer study."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from medtransfer.reporting.content import ReportContent
    from medtransfer.reporting.input import ReportInput
    from medtransfer.studies.truncated_transfer.config import TruncatedTransferConfig


def build(data: "ReportInput[TruncatedTransferConfig]") -> "ReportContent":
    """Compute the content of the report; see :func:`collect.collect`."""
    from medtransfer.studies.truncated_transfer.report.collect import collect

    return collect(data)
