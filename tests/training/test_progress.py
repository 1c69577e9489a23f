"""Progress: a bar on a terminal, lines elsewhere; no silence is longer than 20 seconds, by a clock that is set."""

import io
import re
import threading
import time

import pytest

from medtransfer.training import progress
from medtransfer.training.progress import EVERY_S, Bar, Display, Screen, over, working

METRICS = {
    "step": 3.0,
    "train/loss": 0.5,
    "train/loss_region": 0.2,
    "train/lr_all": 0.1,
    "val/accuracy_ill": 0.25,
    "val/auroc_ill": 0.75,
    "val/auprc_ill": 0.625,
}


class Clock:
    """Seconds that pass when the test says so."""

    now = 0.0

    def __call__(self):
        return self.now

    def pass_by(self, seconds):
        """Let time pass, and the display look at it every second."""
        for _ in range(int(seconds)):
            self.now += 1
            progress.display().beat()


def screen(monkeypatch, *, terminal=False, clock=time.monotonic):
    """Replace the display of the process; return what it writes to."""
    written = io.StringIO()
    options = {"force_terminal": terminal, "width": 160, "highlight": False, "get_time": clock}
    display = Display(Screen(file=written, **options, _environ={"TERM": "xterm"}))
    monkeypatch.setattr(progress, "display", lambda: display)
    return written


def watching():
    return [thread for thread in threading.enumerate() if thread.name == "progress"]


def run(monkeypatch, *, terminal, **options):
    written = screen(monkeypatch, terminal=terminal)
    with Bar("finetune [b]", 10, 2, images=8, **options) as bar:
        for _ in range(3):
            time.sleep(0.002)
            bar.advance()
        bar.report(5, METRICS, 42.4)
        bar.advance()
    return written.getvalue()


def plain(text):
    return re.sub(r"\x1b\[[\d;?]*[A-Za-z]", "", text)


def test_a_terminal_shows_steps_rate_and_time_left(monkeypatch):
    shown = plain(run(monkeypatch, terminal=True))
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


def test_a_slow_fit_is_never_silent_for_longer_than_20_seconds(monkeypatch):
    clock = Clock()
    written = screen(monkeypatch, clock=clock)
    with Bar("fit", 30, images=8) as bar:
        for _ in range(30):
            clock.pass_by(3)
            bar.advance()
    lines = written.getvalue().splitlines()
    assert len(lines) == 90 // EVERY_S
    assert lines[0] == "fit · step 6 of 30 · 3 images/s · 1:12 left"


def test_one_step_that_takes_a_minute_is_no_silence_either(monkeypatch):
    clock = Clock()
    written = screen(monkeypatch, clock=clock)
    with Bar("fit", 4, images=8):
        clock.pass_by(65)
    assert written.getvalue().splitlines() == ["fit · step 0 of 4"] * 3


def test_a_validation_has_its_own_count_within_the_fit(monkeypatch):
    clock = Clock()
    written = screen(monkeypatch, clock=clock)
    with Bar("fit", 4, 1, images=8), over("scoring", 10, images=2) as passed:
        for _ in range(10):
            clock.pass_by(5)
            passed.advance()
    assert written.getvalue().splitlines() == [
        "fit · step 1 of 4 · scoring · batch 3 of 10 · 0 images/s · 0:35 left",
        "fit · step 1 of 4 · scoring · batch 7 of 10 · 0 images/s · 0:15 left",
    ]


def test_a_line_of_somebody_else_is_no_silence_and_short_work_says_nothing(monkeypatch):
    clock = Clock()
    written = screen(monkeypatch, clock=clock)
    with Bar("fit", 4, images=8) as bar:
        clock.pass_by(19)
        bar.report(2, METRICS, 1.0)
        clock.pass_by(19)
    assert len(written.getvalue().splitlines()) == 1


def test_a_verb_says_how_long_it_has_run_but_on_one_process_alone(monkeypatch):
    clock = Clock()
    written = screen(monkeypatch, clock=clock)
    with working("gate"):
        clock.pass_by(45)
    monkeypatch.setenv("RANK", "1")
    with working("gate"):
        clock.pass_by(45)
    assert written.getvalue().splitlines() == ["gate · 0:20 so far", "gate · 0:40 so far"]


def test_a_terminal_has_bars_and_no_lines(monkeypatch):
    clock = Clock()
    written = screen(monkeypatch, terminal=True, clock=clock)
    with working("predict"), over("scoring", 3, images=2) as passed:
        for _ in range(2):
            clock.pass_by(15)
            passed.advance()
        progress.display()._bars.refresh()
        assert "scoring" in plain(written.getvalue())
        assert "2/3" in plain(written.getvalue())
        clock.pass_by(60)
    assert " of 3" not in plain(written.getvalue())


def test_the_thread_prints_without_a_step_and_ends(monkeypatch):
    monkeypatch.setattr(progress, "EVERY_S", 0.05)
    written = screen(monkeypatch)
    with Bar("fit", 4, images=8):
        time.sleep(0.5)
    assert "fit · step 0 of 4\n" in written.getvalue()
    assert not watching()


def test_a_failed_pass_is_not_shown_any_more(monkeypatch):
    clock = Clock()
    written = screen(monkeypatch, clock=clock)
    with working("predict"):
        with pytest.raises(RuntimeError), over("scoring", 3, images=2):
            raise RuntimeError
        clock.pass_by(20)
    assert written.getvalue() == "predict · 0:20 so far\n"
