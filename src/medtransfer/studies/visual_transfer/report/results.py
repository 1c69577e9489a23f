"""What all parts of the report read: cells of validation and test images, and cells of the attribution."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd

from medtransfer.evaluation.cells import Aligned, Cell, EvaluationConfig, Key, measure, of_output
from medtransfer.evaluation.claims import Judged, judge
from medtransfer.evaluation.summary import USUAL
from medtransfer.studies.visual_transfer import study
from medtransfer.studies.visual_transfer.claims import AUROC, SHARE, claims, printed
from medtransfer.studies.visual_transfer.config import VisualTransferConfig
from medtransfer.studies.visual_transfer.titles import column_title

METRICS = ("auroc", "auprc")
GRAD_CAM = "grad_cam"
MEAN = "mae"
"""The mean of shares is their mean absolute distance from 0: the same resamples, intervals and rules."""


@dataclass(frozen=True, kw_only=True)
class Results:
    """A study's predictions and attribution, measured.

    Attributes:
        config: the study's parameters.
        cells: by split, variant and condition.
        shares: by explainer: share of the heat inside the lungs, a cell per column whose metric is ``MEAN``.
        facts: content of explanations.json.
        absent: why a base has no weights, by its name.
    """

    config: VisualTransferConfig
    cells: Mapping[str, Mapping[Key, Cell]]
    shares: Mapping[str, Mapping[Key, Cell]]
    facts: Mapping[str, Any]
    absent: Mapping[str, str]

    def judged(self, about: str) -> list[Judged]:
        """Return the claims on test scores or on attribution with their judgements."""
        cells = self.cells.get("test", {}) if about == AUROC else self.shares.get(GRAD_CAM, {})
        metric, paper = (AUROC, printed(self.config)) if about == AUROC else (MEAN, {})
        return [
            (claim, {about: judge(claim, cells, metric, title=_title, paper=paper)})
            for claim in claims(self.config, about, {variant for variant, _ in cells})
        ]


def results(
    table: pd.DataFrame,
    config: VisualTransferConfig,
    evaluation: EvaluationConfig,
    facts: Mapping[str, Any],
    absent: Mapping[str, str],
) -> Results:
    """Measure a study's predictions and the shares of its explanations."""
    plain = evaluation.model_copy(update={"threshold": "half"})  # no metric here needs a threshold
    measured = measure(table, plain, splits=("val", "test"), metrics=METRICS)
    cells = {split: {cell.key: cell for cell in measured if cell.split == split} for split in ("val", "test")}
    return Results(config=config, cells=cells, shares=shares_of(facts, config, evaluation), facts=facts, absent=absent)


def shares_of(
    facts: Mapping[str, Any], config: VisualTransferConfig, evaluation: EvaluationConfig
) -> dict[str, dict[Key, Cell]]:
    """Return a cell per explainer and column from the shares of each image and seed."""
    known = facts["attribution"]
    if known is None:
        return {}
    images, patients = (np.array(known[name], object) for name in ("images", "patients"))
    result: dict[str, dict[Key, Cell]] = {}
    for explainer, columns in known["explainers"].items():
        for variant, found in columns.items():
            scores = np.array(found["shares"], np.float64)
            aligned = Aligned(
                seeds=tuple(found["seeds"]),
                outputs=(SHARE,),
                images=images,
                patients=patients,
                scores=scores[:, :, None],
                target=np.zeros((len(images), 1)),
            )
            cell = _cell(variant, aligned, config.dataset, evaluation)
            result.setdefault(explainer, {})[variant, study.AGAINST_REST] = cell
    return result


def _cell(variant: str, aligned: Aligned, dataset: str, evaluation: EvaluationConfig) -> Cell:
    measured = of_output(aligned, SHARE, (MEAN,), [0.5] * len(aligned.seeds), evaluation)
    samples = {MEAN: replace(measured[MEAN], rules=USUAL)}  # a share stays between 0 and 1, unlike other errors
    return Cell(
        **vars(aligned),
        variant=variant,
        condition=study.AGAINST_REST,
        dataset=dataset,
        split="test",
        kind="value",
        task="regression",
        samples=samples,
        by_output={SHARE: samples},
        thresholds={},
        neg_pos_ratio=None,
    )


def _title(one: Key) -> str:
    return column_title(one[0])
