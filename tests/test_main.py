"""The process around the command line: its exit code, and what still runs although it exits at once."""

import subprocess
import sys

import pytest

PROGRAM = """
import atexit
import medtransfer.__main__ as program
import medtransfer.cli as cli
def run(arguments):
    atexit.register(print, "handled")
    {end}
cli.run = run
program.main()
"""


CHILD = """
import atexit, runpy
from medtransfer.ending import quick_end
ending = quick_end()
atexit.register(print, "handled")
import medtransfer.cli as cli
cli.run = lambda arguments: 3
runpy.run_module("medtransfer", init_globals={"ENDING": ending}, run_name="__main__", alter_sys=True)
"""


def test_exit_handlers_of_a_parent_s_packages_run_in_its_child():
    done = subprocess.run([sys.executable, "-c", CHILD], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (3, "handled\n")


@pytest.mark.parametrize(
    ("end", "code", "last"),
    [
        ("return 0", 0, ""),
        ("return 3", 3, ""),
        ("raise SystemExit(2)", 2, ""),
        ("raise ValueError('a bug')", 1, "ValueError: a bug"),
    ],
)
def test_exit_handlers_run_and_the_code_is_the_verbs(end, code, last):
    words = [sys.executable, "-c", PROGRAM.format(end=end)]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (code, "handled\n")
    assert done.stderr.strip().endswith(last)
