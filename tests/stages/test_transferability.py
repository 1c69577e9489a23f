"""Sources with and without a label head of their own, scored through the real command line."""

import math

import numpy as np
import pandas as pd
import pytest

from medtransfer.cli import run
from medtransfer.evaluation.transferability import leep, logme, nce
from medtransfer.files import write_json
from medtransfer.models.classifier import NetworkConfig, build_network
from medtransfer.models.insertion import AttentionConfig
from medtransfer.models.weights import save_weights
from medtransfer.studies.attentive_transfer import study
from medtransfer.training.engine import Engine, HardwareConfig
from medtransfer.training.loading import evaluation_loader, open_dataset
from network_heads import class_heads

STUDY, NETWORK = "attentive_transfer", "resnet18_attn1"
CHAINS = ("none", "stl_n", "none-sstl_m")
STRUCTURE = NetworkConfig(backbone="resnet18", attention=AttentionConfig(count=1))
COLOURS = ("red", "green", "blue", "grey")


@pytest.fixture
def scored(toy):
    """Two fine-tuning seeds that share one pretraining seed; 14 training images."""
    toy.params["attentive_transfer"] |= {"chains": list(CHAINS), "sstl_m_after": ["none"], "methods_after": []}
    toy.params["attentive_transfer"] |= {"seeds": [3, 5], "pretrain_seeds": [7]}
    toy.write_params()
    toy.draw(counts=(14, 4, 4))
    for chain in CHAINS[1:]:
        model = build_network(STRUCTURE, classes=len(COLOURS), seed=1)
        folder = study.source(NETWORK, chain, 7).weights
        save_weights(model, folder, config=STRUCTURE, heads=class_heads(COLOURS), preprocessing={})
    assert run(["prepare", "ct"]) == 0
    assert run(["fit", STUDY, "start", NETWORK]) == 0

    def score():
        assert run(["transferability", STUDY]) == 0
        return pd.read_csv(f"out/{STUDY}/results/transferability.csv").set_index(["chain", "seed"])

    return score


@pytest.mark.slow
def test_every_fine_tuning_seed_stands_beside_the_scores_of_the_weights_it_starts_from(scored):
    table = scored()
    assert list(table.index) == [(chain, seed) for chain in CHAINS for seed in (3, 5)]
    assert table["source_seed"].tolist() == [3, 5, 7, 7, 7, 7]
    assert set(table["images"]) == {14}
    assert table["source_labels"].tolist() == [1000, 1000, 4, 4, 0, 0]
    assert_scores_of_own_head(table.loc[("stl_n", 3)])
    assert_ends_self_supervised(table.loc[("none-sstl_m", 5)])


def assert_scores_of_own_head(row):
    data = open_dataset("ct")
    loader = evaluation_loader(data, "train", 32, Engine(HardwareConfig(device="cpu", precision="fp32")))
    batch = next(iter(loader.epoch(0)))
    model = build_network(STRUCTURE, classes=len(COLOURS), seed=1).eval()
    probability, target = model(batch["image"]).softmax(1).detach().numpy(), batch["target"].numpy()
    assert row["leep_nats"] == pytest.approx(leep(probability, target).nats, abs=1e-6)
    assert row["leep_bits"] == pytest.approx(row["leep_nats"] / math.log(2))
    assert row["nce"] == pytest.approx(nce(probability.argmax(1), target))
    assert row["logme"] == pytest.approx(logme(model.features(batch["image"]).detach().numpy(), target), abs=1e-5)


def assert_ends_self_supervised(row):
    assert row[["leep_nats", "leep_bits", "nce", "minus_conditional_entropy"]].isna().all()
    assert np.isfinite(row["logme"])
    assert row["unavailable"] == "none-sstl_m ends with self-supervision: its head was never trained"


@pytest.mark.slow
def test_ready_made_weights_without_a_fitting_head_have_no_leep(scored):
    record = study.source(NETWORK, "stl_n", 7).records / "ready_made.json"
    write_json(record, {"kept": ["attention.layer4_1.value.weight"]})
    assert scored().loc["stl_n", "leep_nats"].notna().all()
    write_json(record, {"kept": ["head.bias", "head.weight"]})
    found = scored().loc["stl_n"]
    assert found["leep_nats"].isna().all()
    assert set(found["unavailable"]) == {"the ready-made weights have no head for this network's labels"}
