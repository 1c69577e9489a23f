"""The multi-task ViT's task: its losses, its parameter groups, and what a step leaves alone."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from medtransfer.errors import ConfigError
from medtransfer.models.classifier import NetworkConfig, build_network
from medtransfer.models.multitask import MultitaskConfig
from medtransfer.models.tokens import TransformerConfig
from medtransfer.training.multitask import MultitaskTask, _score_metrics
from medtransfer.training.optim import AdamConfig, ConstantSchedule, CosineSchedule, TrainConfig

CLASSES = ("normal", "other", "covid")
CONFIG = MultitaskConfig(
    corpus=NetworkConfig(backbone="test_resnet"),
    side=64,
    transformer=TransformerConfig(width=24, layers=1, heads=3),
    upsizing=(4, 4, 4, 4),
)


def task(**options):
    return MultitaskTask(build_network(CONFIG, 9, seed=0).eval(), CLASSES, **options)


@pytest.fixture
def batch():
    draw = torch.Generator().manual_seed(0)
    lungs = torch.ones(2, 64, 64, dtype=torch.bool)
    lungs[1, :, 32:] = False
    zones = torch.tensor([[0, 1, 2, 3, 0, torch.nan], [1, 0, 0, 1, 1, 1]])
    return {
        "label": {"image": torch.randn(4, 3, 64, 64, generator=draw), "target": torch.tensor([0, 1, 2, -1])},
        "zones": {"image": torch.randn(2, 3, 64, 64, generator=draw), "target": zones, "lungs": lungs},
    }


def test_both_losses_are_means_over_what_is_known_weighted_1_to_5(batch):
    trained = task()
    losses = trained.losses(batch)
    torch.testing.assert_close(losses["total"], losses["label"] + 5 * losses["zones"])
    label = trained.module(batch["label"]["image"])["label"][:3]
    expected = F.binary_cross_entropy_with_logits(label, torch.eye(3))
    torch.testing.assert_close(losses["label"], expected)
    zones = trained.module(batch["zones"]["image"], batch["zones"]["lungs"])["zones"]
    known = [(0, zone) for zone in range(5)] + [(1, zone) for zone in range(3)]  # the left lung of image 1 has no mask
    logits = torch.stack([zones[place] for place in known])
    affected = torch.tensor([0.0, 1, 1, 1, 0, 1, 0, 0])
    torch.testing.assert_close(losses["zones"], F.binary_cross_entropy_with_logits(logits, affected))


def test_zones_without_lung_and_images_without_label_move_no_weight(batch):
    trained = task()
    batch["label"]["target"] = torch.full((4,), -1)
    batch["zones"]["lungs"] = torch.zeros(2, 64, 64, dtype=torch.bool)
    losses = trained.losses(batch)
    assert {name: value.item() for name, value in losses.items()} == {"label": 0, "zones": 0, "total": 0}
    losses["total"].backward()
    assert all(p.grad is None or not p.grad.any() for p in trained.module.parameters())


@pytest.mark.parametrize(("tasks", "outputs"), [(("label",), 3), (("zones",), 6)])
def test_a_single_task_reads_its_own_part_alone(tasks, outputs, batch):
    model = build_network(CONFIG.model_copy(update={"tasks": tasks}), outputs, seed=0)
    single = MultitaskTask(model, CLASSES)
    losses = single.losses({name: part for name, part in batch.items() if name in tasks})
    assert set(losses) == {*tasks, "total"}
    assert losses["total"] == losses[tasks[0]]
    assert tuple(single.heads()) == tasks


def test_the_map_head_has_a_rate_and_schedule_of_its_own():
    config = TrainConfig(steps=10, batch_size=4, optimizer=AdamConfig(lr=1e-3), schedule=CosineSchedule(warmup_steps=2))
    shared, severity = task(severity_lr=3e-3).groups(config)
    assert (shared.name, shared.lr, shared.schedule) == ("shared", 1e-3, config.schedule)
    assert (severity.name, severity.lr, severity.schedule) == ("severity", 3e-3, ConstantSchedule())
    model = task().module
    assert len(shared.parameters) + len(severity.parameters) == len(list(model.parameters()))
    assert task().groups(config)[1].lr == 1e-3
    model = build_network(CONFIG.model_copy(update={"tasks": ("label",)}), 3)
    assert [group.name for group in MultitaskTask(model, CLASSES).groups(config)] == ["shared"]


def test_the_severity_score_is_validated_over_images_with_six_known_zones():
    zones = np.array([[0.9, 0.9, 0.9, 0.1, 0.1, 0.1], [0.1] * 6, [0.9] * 6, [0.5] * 6])
    target = np.array([[1.0, 1, 0, 0, 0, 0], [0] * 6, [3] * 6, [np.nan, 1, 1, 1, 1, 1]])
    assert _score_metrics(zones, target)["val/mse_score"] == pytest.approx(1 / 3)


def test_a_network_without_the_heads_is_refused():
    with pytest.raises(ConfigError, match="no multi-task head"):
        MultitaskTask(build_network(NetworkConfig(backbone="test_resnet"), 3), CLASSES)
