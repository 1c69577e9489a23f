"""Every fit is predicted on its own task's validation and test images; trials are not."""

import pandas as pd
import pytest

from medtransfer.evaluation.cells import EvaluationConfig
from medtransfer.evaluation.predictions import validate_predictions
from medtransfer.evaluation.scorecard import scorecard
from medtransfer.studies.truncated_transfer import predictions as module
from medtransfer.studies.truncated_transfer.claims import claims, judge_claim, judge_ties, measure_cells


@pytest.fixture
def fitted_study(workspace, make_config, fit):
    """Two variants, fitted on a class and on two findings, with all cases and with some left out."""
    config = make_config(
        variants=["test_resnet-random", "test_resnet_to_layer2-random"],
        tasks={
            "ill": {"dataset": "toy", "positive": "ill"},
            "both": {"dataset": "toy", "findings": ["other", "bright"], "regimes": ["all"]},
        },
        regimes={"all": {}, "rare": {"neg_pos_ratio": {"train": 3, "test": 2}}},
        protocols=["paper"],
        seeds=[0],
    )
    fit(config, "finetune", "all")
    return config, pd.concat(module.predictions(config, fit.setting.engine), ignore_index=True)


def test_the_table_holds_every_fit_and_can_be_scored_and_judged(fitted_study):
    config, table = fitted_study
    validate_predictions(table)
    fits = {(fit.variant, fit.condition, fit.seed) for fit in module.fitted(config)}
    assert set(table[["variant", "condition", "seed"]].itertuples(index=False, name=None)) == fits
    assert len(fits) == 2 * (2 + 1)
    assert all((fit.weights / "config.json").exists() and fit.records.is_dir() for fit in module.fitted(config))
    counts = table.groupby(["condition", "split"])["image_id"].nunique()
    assert counts["ill-all-paper"].to_dict() == {"test": 16, "val": 16}
    assert counts["ill-rare-paper"].to_dict() == {"test": 16, "val": 16}
    assert {fit.neg_pos_ratio for fit in module.fitted(config) if "-rare-" in fit.condition} == {2.0}
    assert set(table[table["condition"] == "both-all-paper"]["output"]) == {"other", "bright"}
    card = scorecard(table, EvaluationConfig(draws=10))
    name = "test_resnet-random/both-all-paper/toy/test"
    assert card[name]["probability"]["task"] == "multilabel"
    cells = measure_cells(table, config, EvaluationConfig(draws=10))
    assert len(cells) == 2 * (2 + 1)
    assert all(judge_claim(claim, cells)["auprc"].verdict for claim in claims(config))
    assert judge_ties(cells, "ill-all-paper").pairs == 1
