import copy
import math

import pytest
import torch
from pydantic import TypeAdapter, ValidationError
from torch import nn

from medtransfer.errors import ConfigError
from medtransfer.losses.contrastive import nt_xent
from medtransfer.losses.regions import region_loss
from medtransfer.ssl.base import unit
from medtransfer.ssl.methods import SSLConfig, build
from medtransfer.ssl.moco import MoCo, MoCoConfig
from medtransfer.ssl.multiscale import MultiScale, MultiScaleConfig
from medtransfer.ssl.simclr import SimCLR, SimCLRConfig

CONFIGS = [MultiScaleConfig(queue=12), MoCoConfig(queue=12), MoCoConfig(queue=12, head="mlp"), SimCLRConfig()]
CONFIGS += [MoCoConfig(queue=12, key_norm="moving_average"), MultiScaleConfig(queue=12, key_norm="moving_average")]


def built(config, encoder):
    return build(config, encoder, images=12, batch_size=6, seed=0)


def test_the_name_picks_the_method(encoder):
    adapter = TypeAdapter(SSLConfig)
    for name, method in {"multiscale": MultiScale, "moco": MoCo, "simclr": SimCLR}.items():
        config = adapter.validate_python({"name": name} | ({} if name == "simclr" else {"queue": 12}))
        assert type(built(config, copy.deepcopy(encoder))) is method
    with pytest.raises(ValidationError, match="byol"):
        adapter.validate_python({"name": "byol"})


@pytest.mark.parametrize("config", CONFIGS)
def test_every_method_trains_its_encoder_and_never_its_key_encoder(config, encoder, make_batch):
    method = built(config, encoder)
    for step in range(2):
        losses = method(make_batch(first=6 * step, seed=step))
    losses["total"].backward()
    assert all(value.ndim == 0 and bool(value.isfinite()) for value in losses.values())
    assert float(encoder.net[0].weight.grad.abs().sum()) > 0
    fixed = [name for name, p in method.named_parameters() if not p.requires_grad]
    assert all("key_encoder" in name or "key_head" in name for name in fixed)
    assert all(method.get_parameter(name).grad is None for name in fixed)
    assert method.encoder is encoder


@pytest.mark.parametrize("config", CONFIGS)
def test_a_restored_method_goes_on_exactly_as_the_straight_run(config, encoder, make_batch):
    method, other = built(config, encoder), built(config, copy.deepcopy(encoder))
    method(make_batch())
    other.load_state_dict(method.state_dict())
    second = make_batch(first=6, seed=1)
    assert float(method(second)["total"].detach()) == float(other(second)["total"].detach())


@pytest.mark.parametrize("config", CONFIGS)
def test_the_seed_alone_decides_what_a_method_begins_with(config, encoder):
    begins = []
    for ambient in (1, 2):
        torch.manual_seed(ambient)
        before = torch.get_rng_state()
        begins.append({name: value.clone() for name, value in built(config, encoder).state_dict().items()})
        assert torch.equal(torch.get_rng_state(), before)
    assert all(torch.equal(begins[0][name], begins[1][name]) for name in begins[0])


@pytest.mark.parametrize("config", CONFIGS)
def test_every_method_overfits_eight_images(config, encoder, make_batch):
    small = config.model_copy(update={"queue": 8} if hasattr(config, "queue") else {})
    method = build(small, encoder, images=8, batch_size=4, seed=0)
    optimiser = torch.optim.Adam((p for p in method.parameters() if p.requires_grad), lr=0.02)
    batches = [make_batch(4, first=first, seed=first) for first in (0, 4)]
    for batch in batches:
        batch["key"] = batch["query"]
    means = []
    for _ in range(100):
        totals = []
        for batch in batches:
            total = method(batch)["total"]
            optimiser.zero_grad()
            total.backward()
            optimiser.step()
            totals.append(float(total.detach()))
        means.append(sum(totals) / 2)
    # the first round meets an empty queue and costs nothing, so the second is the start
    assert means[-1] < 0.7 * means[1]


def test_the_total_is_the_weighted_sum_of_both_parts(encoder, make_batch):
    method = built(MultiScaleConfig(queue=12, alpha1=0.5, alpha2=0.25), encoder)
    method(make_batch())
    losses = method(make_batch(first=6, seed=1))
    assert float(losses["contrastive"].detach()) > 0
    torch.testing.assert_close(losses["total"], 0.5 * losses["contrastive"] + 0.25 * losses["region"])


def test_the_region_branch_judges_the_query_encoders_crops(encoder, make_batch):
    method = built(MultiScaleConfig(queue=12), encoder)
    batch = make_batch()
    losses = method(batch)
    logits = method.region_head(encoder.features(batch["regions"]))
    torch.testing.assert_close(losses["region"], region_loss(logits, reduction="mean"))
    assert not losses["region_accuracy"].requires_grad


def statistics(encoder):
    return encoder.net[1].running_mean.clone(), encoder.net[1].running_var.clone()


def test_running_statistics_are_those_of_whole_images_alone(encoder, make_batch):
    others = [copy.deepcopy(encoder) for _ in range(3)]
    methods = [
        built(MultiScaleConfig(queue=12), encoder),
        built(MoCoConfig(queue=12), others[0]),
        built(MultiScaleConfig(alpha1=0), others[1]),
    ]
    for step in range(2):
        batch = make_batch(first=6 * step, seed=step)
        batch["regions"] += 5  # crops of another brightness
        for method in methods:
            method(batch)["total"].backward()
        others[2].features(batch["query"])
    multiscale, moco, regions_only, whole = (statistics(part) for part in (encoder, *others))
    torch.testing.assert_close(multiscale, moco, rtol=0, atol=0)
    torch.testing.assert_close(regions_only, whole, rtol=0, atol=0)
    keys = [statistics(method.contrast.key_encoder) for method in methods[:2]]
    torch.testing.assert_close(*keys, rtol=0, atol=0)


@pytest.mark.parametrize("alpha1", [0.8, 0])
def test_gradients_are_those_of_regions_normalised_by_their_own_batch(alpha1, encoder, make_batch):
    twin, batch = copy.deepcopy(encoder), make_batch()
    method = built(MultiScaleConfig(queue=12, alpha1=alpha1), encoder)
    other = built(MultiScaleConfig(queue=12, alpha1=alpha1), twin)
    method(batch)["total"].backward()
    contrastive = other.contrast(twin, batch) if alpha1 else 0
    region = region_loss(other.region_head(twin.features(batch["regions"])), reduction="mean")
    (alpha1 * contrastive + 0.8 * region).backward()
    pairs = zip(method.parameters(), other.parameters(), strict=True)
    assert all(torch.equal(a.grad, b.grad) for a, b in pairs if a.requires_grad and a.grad is not None)


@pytest.mark.parametrize("fix", ["evaluation", "frozen norm"])
def test_no_whole_image_passes_where_it_would_move_nothing(fix, encoder, make_batch):
    method = built(MultiScaleConfig(alpha1=0), encoder)
    (method if fix == "evaluation" else encoder.net[1]).eval()
    before = statistics(encoder)
    method({"regions": make_batch()["regions"]})
    torch.testing.assert_close(statistics(encoder), before, rtol=0, atol=0)


def test_without_contrast_no_key_encoder_exists(encoder, make_batch):
    method = built(MultiScaleConfig(alpha1=0, queue=999), encoder)
    batch = make_batch()
    del batch["key"]
    losses = method(batch)
    assert sorted(losses) == ["region", "region_accuracy", "total"]
    assert not [name for name in method.state_dict() if "key_encoder" in name or "queue" in name]
    torch.testing.assert_close(losses["total"], 0.8 * losses["region"])


def test_without_regions_no_crop_passes(encoder, make_batch):
    method = built(MultiScaleConfig(alpha2=0, queue=12), encoder)
    batch = make_batch()
    del batch["regions"]
    assert sorted(method(batch)) == ["contrastive", "total"]
    assert not [name for name in method.state_dict() if "region" in name]


def test_both_weights_zero_are_refused():
    with pytest.raises(ValidationError, match="alpha1 and alpha2 are both 0, expected at least one above 0"):
        MultiScaleConfig(alpha1=0, alpha2=0)


def test_a_queue_longer_than_the_training_set_is_refused(encoder):
    with pytest.raises(ConfigError, match=r"ssl.queue is 256, expected a multiple of the batch size \(6\)"):
        built(MoCoConfig(), encoder)


@pytest.mark.parametrize("config", CONFIGS)
def test_a_batch_of_one_is_refused(config, encoder):
    with pytest.raises(
        ConfigError, match=r"train.batch_size is 1 for 1 process\(es\), expected at least 2 images each"
    ):
        build(config, encoder, images=12, batch_size=1, seed=0)


def after_three_steps(config, encoder, make_batch):
    torch.manual_seed(0)
    method = built(config, encoder)
    optimiser = torch.optim.SGD((p for p in method.parameters() if p.requires_grad), lr=0.5)
    for step in range(3):
        optimiser.zero_grad()
        method(make_batch(first=6 * (step % 2), seed=step))["total"].backward()
        optimiser.step()
    return encoder.net[0].weight.detach()


@pytest.mark.parametrize(
    ("config", "other"),
    [
        (MultiScaleConfig, {"temperature": 0.2}),
        (MultiScaleConfig, {"momentum": 0.5}),
        (MultiScaleConfig, {"queue": 6}),
        (MultiScaleConfig, {"alpha1": 0.4}),
        (MultiScaleConfig, {"alpha2": 0.4}),
        (MoCoConfig, {"head": "mlp"}),
        (MoCoConfig, {"dim": 64}),
        (MoCoConfig, {"key_norm": "moving_average"}),
        (SimCLRConfig, {"temperature": 0.5}),
    ],
)
def test_every_parameter_of_a_method_changes_what_is_learnt(config, other, encoder, make_batch):
    usual = {} if config is SimCLRConfig else {"queue": 12}
    twin = copy.deepcopy(encoder)
    learnt = after_three_steps(config(**usual), encoder, make_batch)
    assert not torch.equal(learnt, after_three_steps(config(**(usual | other)), twin, make_batch))


def test_heads_are_those_of_the_papers(encoder):
    v1, v2 = built(MoCoConfig(queue=12), encoder), built(MoCoConfig(queue=12, head="mlp"), encoder)
    assert isinstance(v1.contrast.head, nn.Linear)
    assert (v1.contrast.head.in_features, v1.contrast.head.out_features) == (8, 128)
    assert [type(layer) for layer in v2.contrast.head] == [nn.Linear, nn.ReLU, nn.Linear]


def test_simclr_is_nt_xent_of_both_views(encoder, make_batch):
    method, batch = built(SimCLRConfig(temperature=0.3), encoder), make_batch()
    views = torch.stack([batch["query"], batch["key"]], dim=1).flatten(0, 1)
    expected = nt_xent(unit(method.head(encoder.features(views))), 0.3)
    torch.testing.assert_close(method(batch)["total"], expected)
    assert float(expected.detach()) < math.log(11) + 2 / 0.3
