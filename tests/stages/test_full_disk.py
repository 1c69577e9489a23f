"""Every verb that writes, on a disk that takes no more: one line that names the file and the remedy, and then again.

A limit on the size of files stands for the full disk: it needs no rights, and the operating system refuses the write in
the same place, with ``EFBIG`` in place of ``ENOSPC``.
"""

import resource
import tempfile
from contextlib import contextmanager

import pytest

from medtransfer.cli import run

STUDY, NETWORK = "attentive_transfer", "resnet18_attn1"
CHAMPION = "models:/covid-ct@champion"
STEPS = (
    (["prepare", "ct"], (0, 1_000, 9_000)),
    (["gate"], (0, 1_000)),
    (["fit", STUDY, "start", "all"], (0, 5_000)),
    (["fit", STUDY, "finetune", NETWORK, "--condition", "none"], (0, 100_000)),
    (["predict", STUDY], (0, 5_000)),
    (["score", STUDY], (0, 1_000)),
    (["audit", STUDY], (0, 1_000)),
    (["register", STUDY], (0, 1_000)),
    (["evaluate", "--model", CHAMPION, "--images", "data/ct/images", "--out", "scored"], (0, 1_000)),
)
"""Verbs in their order, each with sizes in bytes at which a file is full."""
PLACES = ("out/", "mlflow", "metrics/", "scored", ".scratch/", tempfile.gettempdir())


@contextmanager
def full_beyond(size):
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@pytest.mark.slow
def test_a_full_disk_is_one_line_and_the_verb_works_afterwards(toy, capsys):
    toy.draw(counts=(8, 8, 8))
    faults = []
    for words, sizes in STEPS:
        for size in sizes:
            capsys.readouterr()
            try:
                with full_beyond(size):
                    code = run(words)
            except BaseException as error:
                faults.append((words, size, repr(error)))
                continue
            lines = [line for line in capsys.readouterr().err.splitlines() if line.startswith("medtransfer: ")]
            said = lines[0] if lines else ""
            named = any(place in said for place in PLACES)
            if code != 2 or len(lines) != 1 or not named or "room" not in said:
                faults.append((words, size, code, lines))
        capsys.readouterr()
        assert run(words) == 0, f"{words}: {capsys.readouterr().err[-2000:]}; before: {faults}"
    assert not faults, "\n".join(map(str, faults))
