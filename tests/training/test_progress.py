import io
import re
import time

import pytest
from rich.console import Console

from medtransfer.training import progress
from medtransfer.training.progress import Bar

METRICS = {
    "step": 3.0,
    "train/loss": 0.5,
    "train/loss_region": 0.2,
    "train/lr_all": 0.1,
    "val/accuracy_ill": 0.25,
    "val/auroc_ill": 0.75,
    "val/auprc_ill": 0.625,
}


def run(monkeypatch, *, terminal, **options):
    screen = io.StringIO()
    monkeypatch.setattr(progress, "console", Console(file=screen, force_terminal=terminal, width=160, highlight=False))
    with Bar("finetune [b]", 10, 2, images=8, **options) as bar:
        for _ in range(3):
            time.sleep(0.002)
            bar.advance()
        bar.report(5, METRICS, 42.4)
        bar.advance()
    return screen.getvalue()


def test_a_terminal_shows_steps_rate_and_time_left(monkeypatch):
    shown = re.sub(r"\x1b\[[\d;?]*[A-Za-z]", "", run(monkeypatch, terminal=True))
    assert "6/10" in shown
    assert re.search(r"\d+ images/s 0:\d\d:\d\d", shown)
    assert "train/loss 0.500 · val/auroc_ill 0.750" in shown


def test_elsewhere_a_validation_is_one_short_line(monkeypatch):
    shown = run(monkeypatch, terminal=False)
    assert shown == "finetune [b] · step 5 of 10 · train/loss 0.500 · val/auroc_ill 0.750 · 42 images/s\n"


@pytest.mark.parametrize(
    ("metric", "expected"),
    [("val/auprc_ill", "train/loss 0.500 · val/auprc_ill 0.625 ·"), ("train/loss", "train/loss 0.500 · 42")],
)
def test_the_line_shows_the_metric_of_the_selection(monkeypatch, metric, expected):
    assert expected in run(monkeypatch, terminal=False, metric=metric)


@pytest.mark.parametrize("terminal", [True, False])
def test_other_processes_show_nothing(monkeypatch, terminal):
    assert run(monkeypatch, terminal=terminal, quiet=True) == ""
