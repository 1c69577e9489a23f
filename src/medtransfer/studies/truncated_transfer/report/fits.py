"""The records of the study's fits: whole networks that were pretrained here, the fits that count, and their trials."""

from collections.abc import Iterator
from pathlib import Path

from medtransfer.reporting.records import Fit, seed_folders
from medtransfer.studies.truncated_transfer.config import TruncatedTransferConfig


def arm_fits(study_folder: Path, config: TruncatedTransferConfig) -> Iterator[Fit]:
    """Yield what names a fit (``phase, arm, cell, seed``) and its records: pretraining, then arm by arm.

    ``phase`` is ``pretrained``, ``finetuned`` or ``trial``; ``cell`` is the folder's name, empty in pretraining.
    """
    for backbone in config.start:
        for seed, folder in seed_folders(study_folder / "pretrained" / backbone):
            yield {"phase": "pretrained", "arm": backbone, "cell": "", "seed": seed}, folder
    counting = {cell.name for cell in config.cells()}
    for arm in config.arms:
        for cell in sorted((study_folder / "finetuned" / arm).glob("*")):
            phase = "finetuned" if cell.name in counting else "trial"
            for seed, folder in seed_folders(cell):
                yield {"phase": phase, "arm": arm, "cell": cell.name, "seed": seed}, folder
