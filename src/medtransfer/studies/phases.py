"""The entries of a study's ``PHASES``."""

from typing import NamedTuple


class Phase(NamedTuple):
    """A phase of a study.

    Attributes:
        module: the study's module whose ``plan`` returns the fits of the phase.
        folder: folder of their weights and records, below ``out/<study>/weights`` and ``out/<study>/records``.
    """

    module: str
    folder: str
