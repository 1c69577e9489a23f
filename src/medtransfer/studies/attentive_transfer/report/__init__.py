"""The report of the attentive-transfer study."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from medtransfer.reporting.content import ReportContent
    from medtransfer.reporting.input import ReportInput
    from medtransfer.studies.attentive_transfer.config import AttentiveTransferConfig


def build(data: "ReportInput[AttentiveTransferConfig]") -> "ReportContent":
    """Compute the content of the report; see :func:`collect.collect`."""
    from medtransfer.studies.attentive_transfer.report.collect import collect

    return collect(data)
