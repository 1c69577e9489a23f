"""What ``PHASES`` of a study is made of."""

from typing import NamedTuple


class Phase(NamedTuple):
    """A phase of a study.

    Attributes:
        module: the study's module whose ``plan`` makes the fits of the phase.
        folder: where their weights and records go, below ``out/<study>/weights`` and ``records``.
    """

    module: str
    folder: str
