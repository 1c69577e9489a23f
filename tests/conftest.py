"""What all tests share. With ``MEDTRANSFER_NO_SKIP`` a test that is skipped fails, unless it needs a CUDA device."""

import os
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
pytest_plugins = ("cell_fixtures", "report_fixtures", "service_fixtures")
MAY_BE_SKIPPED = "needs a CUDA device"
"""The reason of a skip that no installed program can cure."""


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item, call):
    report = yield
    if report.skipped and not hasattr(report, "wasxfail") and os.environ.get("MEDTRANSFER_NO_SKIP"):
        refuse_skip(report)
    return report


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report(collector):
    """A whole module can be skipped while it is collected."""
    report = yield
    if report.skipped and os.environ.get("MEDTRANSFER_NO_SKIP"):
        refuse_skip(report)
    return report


def refuse_skip(report):
    reason = report.longrepr[2].removeprefix("Skipped: ")
    if reason != MAY_BE_SKIPPED:
        report.outcome = "failed"
        report.longrepr = f"skipped ({reason}), which MEDTRANSFER_NO_SKIP forbids"


@pytest.fixture(autouse=True)
def same_draws():
    """What a test draws without a generator of its own does not depend on the tests before it."""
    if torch := sys.modules.get("torch"):
        torch.manual_seed(0)


@pytest.fixture(scope="session")
def checkout():
    return ROOT
