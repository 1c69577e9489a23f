"""From stored networks to what an audit asks: heads that read the last map, and which question is asked."""

import numpy as np
import pytest

from medtransfer.errors import ModelError
from medtransfer.models.classifier import NetworkConfig, build_network
from medtransfer.models.heads import Head
from medtransfer.models.multitask import MultitaskConfig
from medtransfer.models.tokens import TransformerConfig
from medtransfer.training.auditing import network_model, questions
from medtransfer.training.engine import Engine, HardwareConfig
from network_heads import FINDINGS, LABEL_AND_ZONES, class_heads

VIEW = {"mean": 0.5, "std": [0.25]}
CORPUS = NetworkConfig(backbone="test_resnet")
MAPS = {
    "multitask": MultitaskConfig(
        corpus=CORPUS, side=128, transformer=TransformerConfig(width=24, layers=1, heads=3), upsizing=(4, 4, 4, 4)
    ),
    "pcam": NetworkConfig(backbone="test_resnet", pooling="pcam"),
}


@pytest.mark.parametrize(("kind", "heads"), [("multitask", LABEL_AND_ZONES), ("pcam", class_heads(("a", "covid")))])
def test_a_network_whose_head_reads_the_map_is_audited_too(kind, heads):
    network = build_network(MAPS[kind], sum(len(head.outputs) for head in heads.values()), seed=0)
    model = network_model(network, heads, VIEW, Engine(HardwareConfig(device="cpu", precision="fp32")), "covid")
    images = np.random.default_rng(0).integers(0, 256, (3, 1, 128, 128), dtype=np.uint8)
    answer = model(images)
    assert answer.score.shape == (3,)
    assert ((answer.score > 0) & (answer.score < 1)).all()
    assert len(answer.features) == 3
    assert answer.features.ndim == 2
    assert np.ptp(answer.features, axis=0).max() > 0


def test_a_network_is_asked_for_its_positive_class_or_for_each_class_or_finding():
    assert questions(class_heads(("non-covid", "covid")), {"positive": "covid"}) == ("covid",)
    assert questions(LABEL_AND_ZONES, {"positive": ""}) == ("normal", "pneumonia", "covid")
    assert questions(FINDINGS, {}) == ("edema", "mass")


def test_a_network_of_severities_alone_has_no_question():
    zones = {"zones": Head(outputs=("zone_0",), activation="sigmoid", kind="severity")}
    with pytest.raises(ModelError, match="heads zones answer no yes-or-no question"):
        questions(zones, {})
