"""The records of the study's fits: whole networks that were pretrained here, the fits that count, and their trials."""

from collections.abc import Iterator
from pathlib import Path

from medtransfer.reporting.records import Fit, seed_folders
from medtransfer.studies.truncated_transfer.config import TruncatedTransferConfig


def variant_fits(study_folder: Path, config: TruncatedTransferConfig) -> Iterator[Fit]:
    """Yield what names a fit (``phase, variant, condition, seed``) and its records, variant by variant.

    ``phase`` is ``pretrained``, ``finetuned`` or ``trial``; ``condition`` is the folder's name, empty in pretraining.
    """
    for backbone in config.start:
        for seed, folder in seed_folders(study_folder / "pretrained" / backbone):
            yield {"phase": "pretrained", "variant": backbone, "condition": "", "seed": seed}, folder
    counting = {condition.name for condition in config.conditions()}
    for variant in config.variants:
        for condition in sorted((study_folder / "finetuned" / variant).glob("*")):
            phase = "finetuned" if condition.name in counting else "trial"
            for seed, folder in seed_folders(condition):
                yield {"phase": phase, "variant": variant, "condition": condition.name, "seed": seed}, folder
