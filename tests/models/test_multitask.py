"""The multi-task network: sizes of the paper, its parts, storage, and what happens without a lung mask."""

import logging

import pytest
import torch
from pydantic import ValidationError

from medtransfer.errors import ModelError
from medtransfer.models.classifier import NetworkConfig, build_network, require_network
from medtransfer.models.heads import Head, activate
from medtransfer.models.multitask import MultitaskConfig, MultitaskHead
from medtransfer.models.networks import network_config
from medtransfer.models.tokens import TransformerConfig
from medtransfer.models.weights import load_into, load_model, save_weights
from network_heads import FINDINGS

SMALL = TransformerConfig(width=24, layers=2, heads=3)
TINY = MultitaskConfig(corpus=NetworkConfig(backbone="test_resnet"), side=64, transformer=SMALL, upsizing=(8, 8, 4, 4))
ZONES = tuple(f"zone_{number}" for number in range(6))
HEADS = {
    "label": Head(outputs=("normal", "other", "covid"), activation="sigmoid", kind="probability", exclusive=True),
    "zones": Head(outputs=ZONES, activation="sigmoid", kind="severity"),
}


@pytest.fixture
def images():
    return torch.randn(2, 3, 64, 64, generator=torch.Generator().manual_seed(1))


@pytest.fixture
def lungs():
    masks = torch.zeros(2, 64, 64, dtype=torch.bool)
    masks[:, 8:56, 8:26] = masks[:, 8:56, 38:58] = True
    return masks


def parameters(module):
    return sum(each.numel() for each in module.parameters())


def test_the_papers_network_has_the_parameters_of_the_reference():
    with torch.device("meta"):
        model = build_network(MultitaskConfig(), 9)
    head = model.head
    assert parameters(head.transformer.blocks) == 85_054_464
    assert parameters(head.transformer.projection) == 787_200
    assert head.transformer.positions.shape == (1, 257, 768)
    assert parameters(head.transformer.norm) == 1536
    assert parameters(model.trunk) == 6_953_856
    assert parameters(head.label) == 769 * 3
    assert MultitaskConfig().title == "densenet121_vit12"


def test_outputs_are_named_by_head_and_the_map_is_as_large_as_the_image(images, lungs):
    model = build_network(TINY, 9, seed=0).eval()
    raw = model(images, lungs)
    assert {name: tuple(value.shape) for name, value in raw.items()} == {"label": (2, 3), "zones": (2, 6)}
    encoded = model.head.encode(model.feature_map(images))
    assert model.head.severity_logits(encoded).shape == (2, 64, 64)
    torch.testing.assert_close(model.head.diagnose(encoded.rows(slice(1))), raw["label"][:1])
    scores = activate(raw, HEADS)
    assert ((scores["zones"] > 0) & (scores["zones"] < 1)).all()


def test_pixels_outside_the_lungs_decide_no_zone(images, lungs):
    model = build_network(TINY, 9, seed=0).eval()
    encoded = model.head.encode(model.feature_map(images))
    severity = torch.sigmoid(model.head.severity_logits(encoded))
    scores = torch.sigmoid(model(images, lungs)["zones"])
    assert torch.allclose(scores.amax(1), (severity * lungs).amax((1, 2)))
    half = lungs.clone()
    half[:, :, 32:] = False
    assert torch.sigmoid(model(images, half)["zones"])[:, 3:].tolist() == [[0.0] * 3] * 2


def test_without_a_mask_the_whole_image_is_lung_and_a_warning_says_so_once(images, lungs, caplog):
    model = build_network(TINY, 9, seed=0).eval()
    with caplog.at_level(logging.WARNING):
        model(images, lungs)
        assert not caplog.records
        without = model(images)
        model(images)
    assert [record.getMessage() for record in caplog.records] == [
        "severity of six zones: no lung mask was given, the whole image counts as lung"
    ]
    assert torch.equal(without["zones"], model(images, torch.ones_like(lungs))["zones"])


def test_positions_give_the_tokens_an_order(images):
    def classes_of_a_map_and_its_mirror(positions):
        config = TINY.model_copy(update={"transformer": SMALL.model_copy(update={"positions": positions})})
        head = build_network(config, 9, seed=0).eval().head
        maps = torch.randn(1, head.transformer.projection.in_channels, 2, 2)
        return [head.diagnose(head.encode(each)) for each in (maps, maps.flip(3))]

    torch.testing.assert_close(*classes_of_a_map_and_its_mirror(False))
    first, second = classes_of_a_map_and_its_mirror(True)
    assert not torch.allclose(first, second)


@pytest.mark.parametrize(
    ("tasks", "outputs", "layers"),
    [(("label",), 3, 2), (("zones",), 6, 2), (("label", "zones"), 9, 0)],
)
def test_every_task_and_the_ablation_without_transformer_learn(tasks, outputs, layers, images, lungs):
    transformer = SMALL.model_copy(update={"layers": layers})
    config = TINY.model_copy(update={"tasks": tasks, "transformer": transformer})
    require_network(config, side=64)
    model = build_network(config, outputs, seed=0)
    assert model.reads_lungs == ("zones" in tasks)
    raw = model(images, lungs) if model.reads_lungs else model(images)
    assert tuple(raw) == tasks
    sum(value.sum() for value in raw.values()).backward()
    assert all(each.grad is not None for each in model.parameters() if each.requires_grad)


def test_it_is_stored_and_rebuilt_from_its_description(tmp_path, images, lungs):
    model = build_network(TINY, 9, seed=0).eval()
    save_weights(model, tmp_path, config=TINY, heads=HEADS, preprocessing={})
    loaded, description = load_model(tmp_path)
    model.to(memory_format=torch.channels_last)  # as a loaded network is: convolutions round otherwise
    assert description["heads"] == HEADS
    assert all(torch.equal(value, model(images, lungs)[name]) for name, value in loaded(images, lungs).items())


def test_it_starts_from_a_corpus_backbone(tmp_path):
    corpus_config = network_config("test_resnet_pcam")
    corpus = build_network(corpus_config, 2, seed=5)
    save_weights(corpus, tmp_path, config=corpus_config, heads=FINDINGS, preprocessing={})
    model = build_network(TINY, 9, seed=0)
    report = load_into(model, tmp_path, head="if_fits")
    assert report.ignored == ("head.bias", "head.weight")
    assert all(key.startswith("head.") for key in report.kept)
    assert all(map(torch.equal, model.trunk.state_dict().values(), corpus.trunk.state_dict().values()))


@pytest.mark.parametrize(
    ("changes", "outputs", "message"),
    [
        ({"side": 96}, 6, "expected 7 or more; zones are 6"),
        ({"tasks": ("zones",)}, 9, "expected 6 ; zones are 6"),
        ({"upsizing": (8, 8)}, 9, "3 upsizing blocks make 16 px of a map of 2, the images have 64"),
    ],
)
def test_outputs_and_sizes_that_do_not_fit_are_refused(changes, outputs, message):
    with pytest.raises(ModelError, match=message):
        build_network(TINY.model_copy(update=changes), outputs)


def test_configurations_without_meaning_are_refused():
    with pytest.raises((ModelError, ValidationError), match="width 768 cannot be shared by 7 heads"):
        TransformerConfig(heads=7)
    with pytest.raises(ModelError, match="flatten_at has no meaning"):
        MultitaskConfig(flatten_at=512)
    with pytest.raises(ModelError, match="a task occurs twice"):
        MultitaskConfig(tasks=("zones", "zones"))


def test_images_of_another_side_are_refused(lungs):
    model = build_network(TINY, 9, seed=0)
    assert isinstance(model.head, MultitaskHead)
    with pytest.raises(ModelError, match=r"a map of \(3, 3\) positions, expected \(2, 2\)"):
        model(torch.zeros(2, 3, 96, 96))
