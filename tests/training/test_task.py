"""The contract of a Task, on a made-up one that asks for everything a later study needs."""

import math

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F
from torch.optim.lr_scheduler import ReduceLROnPlateau

from medtransfer.data.loaders import Loader
from medtransfer.models.classifier import NetworkConfig, build_network, freeze_trunk
from medtransfer.models.heads import Head
from medtransfer.models.insertion import AttentionConfig
from medtransfer.ssl.multiscale import MultiScale, MultiScaleConfig
from medtransfer.training.loop import Fit, Progress
from medtransfer.training.optim import ConstantSchedule, CosineSchedule, Group, PlateauSchedule, SGDConfig
from medtransfer.training.selection import SelectionConfig
from medtransfer.training.self_supervised import SelfSupervisedTask
from medtransfer.training.supervised import MultiLabelTask, SupervisedTask
from medtransfer.training.task import groups_of, set_mode
from network_heads import class_heads

FINDINGS = ("edema", "mass")


class TwoTables:
    """Class labels on one loader, a value to regress on another; each head has a learning rate of its own."""

    def __init__(self, net, body, head):
        self.module = nn.ModuleDict({"net": net, "value": nn.Linear(net.width, 1)})
        self.schedules = body, head
        self.sizes, self.rates, self.progress = [], [], []

    def losses(self, batch):
        self.sizes.append({name: len(part["image"]) for name, part in batch.items()})
        logits = self.module["net"](batch["labelled"]["image"])
        value = self.module["value"](self.module["net"].features(batch["scored"]["image"]))[:, 0]
        parts = {
            "label": F.cross_entropy(logits, batch["labelled"]["target"]),
            "value": F.mse_loss(value, batch["scored"]["target"].float()),
        }
        return parts | {"total": parts["label"] + 0.5 * parts["value"]}

    def outputs(self, batch):
        return {"label": torch.softmax(self.module["net"](batch["image"]).float(), dim=1)}

    def groups(self, config):
        body, head = self.schedules
        heads = [*self.module["net"].head.parameters(), *self.module["value"].parameters()]
        return [
            Group(name="body", parameters=[*self.module["net"].body.parameters()], lr=0.1, schedule=body),
            Group(name="head", parameters=heads, lr=0.02, schedule=head, weight_decay=0.0),
        ]

    def after_step(self, progress):
        self.progress.append(progress)

    def exported(self):
        return self.module["net"]

    def heads(self):
        return class_heads(("healthy", "ill"))


def two_loaders(data, toys):
    rows = data.rows("train")
    return {
        "labelled": toys.loader(data, batch_size=16),
        "scored": Loader(data, rows[:12], batch_size=4, seed=4, train=True, augment=toys.augment),
    }


def test_two_loaders_two_schedules_and_a_step_budget(make_fit, data, toys):
    task = TwoTables(toys.net(), CosineSchedule(warmup_steps=4), ConstantSchedule())
    norm = {k: v.clone() for k, v in task.module["net"].body[1].state_dict().items() if "running" in k}
    config = toys.config(steps=9, validate_every=1, batch_size=16, frozen_norm=True, selection=None)
    result = make_fit(task, config, two_loaders(data, toys)).run()
    assert task.sizes == [{"labelled": 16, "scored": 4}] * 9
    assert task.progress == pytest.approx([(k + 1) / 9 for k in range(9)])
    cosine = [0.25, 0.5, 0.75, 1.0, *(0.5 * (1 + math.cos(math.pi * k / 5)) for k in range(5))]
    assert [row["train/lr_body"] for row in result.history] == pytest.approx([0.1 * factor for factor in cosine])
    assert [row["train/lr_head"] for row in result.history] == [0.02] * 9
    for row in result.history:
        assert row["train/loss"] == pytest.approx(row["train/loss_label"] + 0.5 * row["train/loss_value"], rel=1e-5)
    after = task.module["net"].body[1].state_dict()
    assert all(torch.equal(after[name], norm[name]) for name in norm)


def test_without_frozen_norm_the_statistics_move(make_fit, data, toys):
    task = TwoTables(toys.net(), ConstantSchedule(), ConstantSchedule())
    before = task.module["net"].body[1].running_mean.clone()
    make_fit(task, toys.config(steps=2, batch_size=16, selection=None), two_loaders(data, toys)).run()
    assert not torch.equal(task.module["net"].body[1].running_mean, before)


def test_the_two_loaders_keep_their_own_epochs(make_fit, data, toys):
    task, seen = TwoTables(toys.net(), ConstantSchedule(), ConstantSchedule()), []
    loaders = two_loaders(data, toys)
    fit = make_fit(task, toys.config(steps=7, batch_size=16, selection=None), loaders)
    step = fit._step
    fit._step = lambda batch: (seen.append({name: part["index"] for name, part in batch.items()}), step(batch))
    fit.run()
    for name, loader in loaders.items():
        for k, found in enumerate(seen):
            assert torch.equal(found[name], loader.batch(*divmod(k, loader.steps))["index"])


def test_a_plateau_of_validation_auprc_halves_its_groups_alone(make_fit, data, toys):
    plateau = PlateauSchedule(factor=0.5, patience=2)
    task = TwoTables(toys.net(), plateau, ConstantSchedule())
    scores = iter([0.5, 0.5, 0.4, 0.4, 0.3, 0.6, 0.6, 0.6, 0.6])
    config = toys.config(
        steps=9, validate_every=1, batch_size=16, selection=SelectionConfig(metric="val/auprc"), schedule=plateau
    )
    fit = make_fit(task, config, two_loaders(data, toys), validate=lambda: {"val/auprc": next(scores)})
    result = fit.run()
    # The best is reached at steps 1 and 6; the third validation after it without a better one halves.
    expected = [0.1, 0.1, 0.1, 0.1, 0.05, 0.05, 0.05, 0.05, 0.05]
    assert [row["train/lr_body"] for row in result.history] == pytest.approx(expected)
    assert [row["train/lr_head"] for row in result.history] == [0.02] * 9
    assert fit.progress.drops == {"body": 2}


@pytest.mark.parametrize("patience", [0, 1, 2, 3])
@pytest.mark.parametrize("mode", ["max", "min"])
def test_a_plateau_lowers_the_rate_when_torchs_own_scheduler_does(patience, mode, make_fit, toys):
    selection = SelectionConfig(metric="m", mode=mode)
    config = toys.config(selection=selection, schedule=PlateauSchedule(factor=0.5, patience=patience))
    fit = make_fit(SupervisedTask(toys.net(), toys.classes), config, validate=dict)
    generator, lowered = torch.Generator().manual_seed(patience), 0
    for _ in range(20):
        fit.progress = Progress()
        reference = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=1.0)
        own = ReduceLROnPlateau(reference, mode, factor=0.5, patience=patience, threshold=0.0, eps=0.0)
        # few values: many are equal to the best one
        for value in torch.randint(12, (40,), generator=generator).tolist():
            fit._select({"m": float(value)})
            own.step(float(value))
            drops = fit.progress.drops.get("all", 0)
            assert 0.5**drops == reference.param_groups[0]["lr"]
        lowered += drops
    assert lowered > 100


def test_batches_of_one_train_with_frozen_norm(make_fit, data, toys):
    config = toys.config(steps=5, batch_size=1, frozen_norm=True, selection=None, optimizer=SGDConfig(lr=0.01))
    task = SupervisedTask(toys.net(), toys.classes)
    before = toys.weights(task)
    result = make_fit(task, config).run()
    changed = {name for name, tensor in toys.weights(task).items() if not torch.equal(tensor, before[name])}
    assert changed == {name for name, _ in task.module.named_parameters()}
    assert math.isfinite(result.history[-1]["train/loss"])


def test_frozen_norm_is_in_evaluation_mode_while_the_rest_trains(toys):
    net = toys.net()
    set_mode(net, train=True, frozen_norm=True)
    assert (net.training, net.drop.training, net.body[1].training) == (True, True, False)
    set_mode(net, train=True)
    assert net.body[1].training
    set_mode(net, train=False)
    assert not net.drop.training


def test_a_fit_trains_in_training_mode_again_behind_every_validation(make_fit, toys):
    modes = []

    class Watched(SupervisedTask):
        def losses(self, batch):
            modes.append((self.module.drop.training, self.module.body[1].training))
            return super().losses(batch)

    make_fit(Watched(toys.net(), toys.classes), toys.config(frozen_norm=True)).run()
    assert modes == [(True, False)] * 12


def test_supervised_outputs_are_probabilities_and_the_loss_is_cross_entropy(data, toys):
    task, batch = SupervisedTask(toys.net(dropout=0.0).eval(), toys.classes), toys.loader(data).batch(0, 0)
    logits = task.module(batch["image"])
    torch.testing.assert_close(task.outputs(batch)["label"], logits.exp() / logits.exp().sum(1, keepdim=True))
    literal = -logits.log_softmax(1)[torch.arange(8), batch["target"]].mean()
    torch.testing.assert_close(task.losses(batch)["total"], literal)


def test_frozen_parameters_are_left_out_of_the_group(toys):
    net = toys.net()
    net.body.requires_grad_(False)
    (group,) = SupervisedTask(net, toys.classes).groups(toys.config())
    assert [id(p) for p in group.parameters] == [id(p) for p in net.head.parameters()]


def test_a_self_supervised_task_gives_features_and_trains_no_key_encoder(data, toys):
    method = MultiScale(MultiScaleConfig(dim=4, queue=16), toys.net(), images=24, batch_size=8)
    task = SelfSupervisedTask(method, toys.classes)
    batch = toys.loader(data).batch(0, 0)
    torch.testing.assert_close(task.outputs(batch)["features"], method.encoder.features(batch["image"]))
    trained = {id(p) for group in task.groups(toys.config()) for p in group.parameters}
    assert not trained & {id(p) for p in method.contrast.key_encoder.parameters()}
    assert {id(p) for p in method.encoder.parameters()} <= trained


def test_the_contract_is_all_that_the_loop_needs():
    members = {name for name in vars(TwoTables) if not name.startswith("_")}
    assert members == {"losses", "outputs", "groups", "after_step", "exported", "heads"}
    assert Fit.__init__.__annotations__["task"].__name__ == "Task"


def test_a_task_says_what_is_stored_and_what_its_outputs_mean(toys):
    net = toys.net()
    label, findings = SupervisedTask(net, toys.classes), MultiLabelTask(net, FINDINGS)
    assert label.exported() is findings.exported() is net
    assert label.heads() == class_heads(toys.classes)
    assert findings.heads() == {"findings": Head(outputs=FINDINGS, activation="sigmoid", kind="probability")}
    method = MultiScale(MultiScaleConfig(dim=4, queue=16), net, images=24, batch_size=8)
    task = SelfSupervisedTask(method, toys.classes)
    assert task.exported() is method.encoder
    assert [head.trained for head in task.heads().values()] == [False]


def test_findings_are_learnt_from_known_targets_alone(data, make_fit, toys):
    ill = (data.class_index == 1).astype(np.float32)
    targets = np.stack([ill, 1 - ill], axis=1)
    targets[data.rows("train")[:6], 0] = np.nan
    task = MultiLabelTask(toys.net(), FINDINGS)
    loader = toys.loader(data, targets=targets)
    fit = make_fit(task, toys.config(steps=60, selection=None), loader, validate=None).run()
    losses = [row["train/loss"] for row in fit.history]
    assert losses[-1] < losses[0]
    probability = task.outputs(loader.batch(0, 0))["findings"]
    assert probability.dtype == torch.float32
    assert not torch.allclose(probability.sum(1), torch.ones(8))


def test_a_positive_weight_counts_positives_so_many_times(toys):
    task = MultiLabelTask(toys.net(dropout=0.0), FINDINGS, positive_weight=torch.tensor([3.0, 1.0]))
    batch = {"image": torch.randn(2, 3, 16, 16), "target": torch.tensor([[1.0, math.nan], [0.0, 1.0]])}
    with torch.no_grad():
        logits = task.module(batch["image"])
        single = F.binary_cross_entropy_with_logits(logits, batch["target"].nan_to_num(), reduction="none")
        expected = (3 * single[0, 0] + single[1, 0] + single[1, 1]) / 5
        task.module.train()
        torch.testing.assert_close(task.losses(batch)["total"], expected)


def test_a_class_weight_weighs_the_true_class(toys):
    task = SupervisedTask(toys.net(dropout=0.0), toys.classes, class_weight=torch.tensor([1.0, 3.0]))
    batch = {"image": torch.randn(2, 3, 16, 16), "target": torch.tensor([0, 1])}
    with torch.no_grad():
        single = F.cross_entropy(task.module(batch["image"]), batch["target"], reduction="none")
        torch.testing.assert_close(task.losses(batch)["total"], (single[0] + 3 * single[1]) / 4)


def attentive():
    config = NetworkConfig(backbone="test_resnet", attention=AttentionConfig(sites=("layer3.0",)))
    return build_network(config, classes=2, seed=0)


def test_without_a_factor_all_parameters_are_one_group_in_their_own_order(toys):
    model = attentive()
    (group,) = groups_of(model, toys.config())
    assert (group.name, group.lr) == ("all", toys.config().learning_rate)
    assert [id(p) for p in group.parameters] == [id(p) for p in model.parameters()]


def test_a_factor_gives_inserted_layers_a_rate_of_their_own(toys):
    config = toys.config(inserted_lr_factor=30.0)
    model = attentive()
    rest, inserted = groups_of(model, config)
    assert (inserted.name, inserted.lr) == ("inserted", pytest.approx(30 * config.learning_rate))
    assert {id(p) for p in inserted.parameters} == {id(p) for p in model.attention.parameters()}
    assert len(rest.parameters) + len(inserted.parameters) == len([*model.parameters()])
    assert [group.name for group in groups_of(toys.net(), config)] == ["all"]


def test_of_a_frozen_trunk_only_inserted_layers_and_head_are_trained(toys):
    model = attentive()
    freeze_trunk(model)
    trained = {id(p) for group in groups_of(model, toys.config()) for p in group.parameters}
    assert trained == {id(p) for p in (*model.attention.parameters(), *model.head.parameters())}
