"""Confirmation on made-up predictions: the judgement weights test rows as the study's own metrics do."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import yaml

from medtransfer.evaluation.cells import measure
from medtransfer.evaluation.predictions import prediction_rows
from medtransfer.params import parse_params
from medtransfer.tuning import confirm as module
from medtransfer.tuning.records import Adoption
from medtransfer.tuning.trial import Search

SHIPPED = Path(__file__).parents[2] / "params.yaml"
RATE = "truncated_transfer.train.optimizer.lr"
CONDITION = "covid_ct-all-paper"


def predicted(search, arm, values, seed, *, threads):
    """Ten ill and ten healthy patients in both splits."""
    random = np.random.default_rng(seed + 100 * (arm == "former"))
    parts = []
    for split in ("val", "test"):
        names = [f"ct/{split}{i}" for i in range(20)]
        images = pd.DataFrame(
            {"image_id": names, "patient_id": names, "dataset": "ct", "source": "", "view": "", "split": split}
            | {"date": pd.NaT}
        )
        target = np.arange(20) % 2
        scores = np.clip(0.3 + 0.3 * target + random.normal(size=20) * 0.2, 0, 1)
        names_of_fit = {"study": "truncated_transfer", "variant": arm, "condition": CONDITION, "seed": seed}
        parts.append(
            prediction_rows(
                images, scores[:, None], target[:, None], outputs=["covid"], kind="probability", **names_of_fit
            )
        )
    return pd.concat(parts, ignore_index=True)


@pytest.mark.parametrize("ratio", [None, 9.0])
def test_test_rows_are_weighted_as_the_regime_says(here, monkeypatch, ratio):
    tree = yaml.safe_load(SHIPPED.read_text(encoding="utf-8"))
    if ratio:
        tree["truncated_transfer"]["regimes"]["all"] = {"neg_pos_ratio": {"test": ratio}}
    tree["evaluation"]["draws"] = 100
    params = parse_params(tree)
    search = Search(name="cut", config=params.search("cut"), tree=tree, space_hash="0", code="0")
    variant = {"truncated_transfer.variants": ["densenet121-transfer"]}
    adoption = Adoption(search="cut", trial=0, trials=4, values=variant | {RATE: 0.001}, former=variant | {RATE: 0.002})
    monkeypatch.setattr(module, "_predicted", predicted)
    confirmed = module.confirm(search, params, adoption, count=3, threads=1)
    assert ("test rows weighted to 9 negatives per positive" in confirmed.reason) == bool(ratio)
    for arm in module.ARMS:
        table = pd.concat([predicted(search, arm, {}, seed, threads=1) for seed in confirmed.seeds])
        weights = {(arm, CONDITION): ratio} if ratio else {}
        (cell,) = measure(table, params.evaluation, splits=("test",), metrics=("auprc",), neg_pos_ratio=weights)
        assert confirmed.points[arm] == tuple(cell.samples["auprc"].points)
