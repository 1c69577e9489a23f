"""The command line: fast help, a help text for each verb, and the four exit codes."""

import subprocess
import sys
from functools import cache

import pytest

from medtransfer.cli import build_parser, run
from medtransfer.errors import ConfigError, GateClosed
from medtransfer.stages import check
from medtransfer.training import progress

HEAVY = ("torch", "numpy", "pandas", "mlflow", "pydantic", "timm", "sklearn", "scipy", "matplotlib", "dvc", "yaml")
VERBS = next(action for action in build_parser()._actions if isinstance(action.choices, dict)).choices


def test_help_imports_nothing_heavy():
    code = f"""
import sys
from medtransfer.cli import run
try:
    run(["--help"])
except SystemExit as stop:
    assert stop.code == 0
print("heavy:", [name for name in {HEAVY!r} if name in sys.modules])
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.endswith("heavy: []\n")


@pytest.mark.parametrize("verb", VERBS)
def test_each_verb_explains_itself(verb, capsys):
    with pytest.raises(SystemExit) as stop:
        run([verb, "--help"])
    assert stop.value.code == 0
    assert VERBS[verb].description in " ".join(capsys.readouterr().out.split())


def test_fine_is_0(monkeypatch):
    monkeypatch.setattr(check, "run", lambda options: None)
    assert run(["check"]) == 0


def test_a_slow_verb_says_that_it_goes_on(monkeypatch, capsys):
    def work(options):
        progress.display()._screen.spoken -= 30  # half a minute has passed
        progress.display().beat()

    monkeypatch.setattr(progress, "display", cache(lambda: progress.Display(progress.Screen(stderr=True))))
    monkeypatch.setattr(check, "run", work)
    assert run(["check"]) == 0
    assert capsys.readouterr().err == "check · 0:00 so far\n"


@pytest.mark.parametrize(
    ("error", "code", "line"),
    [
        (ConfigError("a: b; do c"), 2, "medtransfer: a: b; do c\n"),
        (GateClosed("two splits share p1"), 3, "medtransfer: two splits share p1\n"),
        (
            OSError(28, "No space left on device", "out/x"),
            2,
            "medtransfer: No space left on device: out/x; partly written files are not used",
        ),
    ],
)
def test_what_a_user_can_mend_is_one_line(error, code, line, monkeypatch, capsys):
    def fail(options):
        raise error

    monkeypatch.setattr(check, "run", fail)
    assert run(["check"]) == code
    message = capsys.readouterr().err
    assert message.startswith(line)
    assert message.count("\n") == 1


def test_a_bug_keeps_its_traceback_and_is_1():
    code = """
import sys, types
from medtransfer.cli import run
sys.modules["medtransfer.stages.check"] = types.SimpleNamespace(run=lambda options: 1 / 0)
sys.exit(run(["check"]))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "ZeroDivisionError" in done.stderr


@pytest.mark.parametrize(
    "words",
    [
        ["fly"],
        ["fit", "attentive_transfer", "finetune"],
        ["fit", "a_study", "finetune", "all"],
        ["evaluate", "--model", "m"],
        [],
    ],
)
def test_words_that_are_no_command_are_2(words, capsys):
    with pytest.raises(SystemExit) as stop:
        run(words)
    assert stop.value.code == 2
    assert "usage: medtransfer" in capsys.readouterr().err
