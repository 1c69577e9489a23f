import copy
import io
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch import nn

from medtransfer.errors import ModelError
from medtransfer.models import classifier
from medtransfer.models.cbr import CBRConfig
from medtransfer.models.classifier import (
    Classifier,
    NetworkConfig,
    attention_layers,
    build_network,
    inserted_off,
    layer_report,
    require_network,
)
from medtransfer.models.insertion import AttentionConfig

SITES = ("layer2.0", "layer3.0", "layer4.0")


def small(*, sites: tuple[str, ...] = SITES, classes: int = 3, dropout: float = 0.0) -> Classifier:
    config = NetworkConfig(backbone="test_resnet", attention=AttentionConfig(sites=sites), dropout=dropout)
    return build_network(config, classes, seed=0)


def awake(model: Classifier) -> Classifier:
    """Let the attention layers matter."""
    torch.manual_seed(1)
    for layer in attention_layers(model).values():
        for parameter in layer.parameters():
            nn.init.normal_(parameter, std=0.3)
    return model


@pytest.mark.parametrize(
    ("backbone", "count", "expected"),
    [("resnet50", 0, 25_557_032), ("resnet50", 1, 26_083_624), ("resnet50", 5, 39_211_560)],
)
def test_resnet50_parameter_counts_are_the_reference_tables(backbone: str, count: int, expected: int) -> None:
    config = NetworkConfig.model_validate({"backbone": backbone, "attention": {"count": count}})
    assert sum(p.numel() for p in build_network(config, 1000).parameters()) == expected


@pytest.mark.slow
@pytest.mark.parametrize(("count", "expected"), [(0, 44_549_160), (1, 45_075_752), (5, 58_203_688)])
def test_resnet101_parameter_counts_are_the_reference_tables(count: int, expected: int) -> None:
    config = NetworkConfig.model_validate({"backbone": "resnet101", "attention": {"count": count}})
    assert sum(p.numel() for p in build_network(config, 1000).parameters()) == expected


def test_attention_and_plain_networks_of_one_seed_start_as_the_same_function() -> None:
    x = torch.randn(2, 3, 64, 64)
    with_attention, plain = small().eval(), small(sites=()).eval()
    assert torch.equal(with_attention(x), plain(x))
    state = with_attention.state_dict()
    assert all(torch.equal(state[key], value) for key, value in plain.state_dict().items())


def test_a_seed_fixes_the_weights_and_leaves_torchs_generator_alone() -> None:
    before = torch.random.get_rng_state()
    first, second = small(), small()
    assert torch.equal(before, torch.random.get_rng_state())
    for key, value in first.state_dict().items():
        assert torch.equal(value, second.state_dict()[key])


def test_features_are_the_mean_of_the_map_and_the_head_reads_them() -> None:
    model, x = awake(small()).eval(), torch.randn(2, 3, 64, 64)
    assert model.feature_map(x).shape == (2, model.width, 2, 2)
    torch.testing.assert_close(model.features(x), model.feature_map(x).mean((2, 3)))
    assert torch.equal(model(x), model.head(model.features(x)))


def test_dropout_acts_after_pooling_and_only_in_training() -> None:
    model, x = small(dropout=0.5), torch.randn(2, 3, 64, 64)
    model.trunk.eval()
    assert torch.equal(model.features(x), model.features(x))
    assert not torch.equal(model(x), model(x))
    model.eval()
    assert torch.equal(model(x), model(x))


def test_layers_are_named_by_their_sites() -> None:
    model = small(sites=("layer3.0", "layer3.0", "layer2.0"))
    assert list(attention_layers(model)) == ["layer2.0", "layer3.0", "layer3.0#2"]
    assert list(model.attention.values()) == list(attention_layers(model).values())


def test_attention_off_gives_the_plain_network_and_restores_it_even_after_an_error() -> None:
    model, plain, x = awake(small()).eval(), small(sites=()).eval(), torch.randn(2, 3, 64, 64)
    on = model(x)
    attention_layers(model)["layer2.0"].active = False
    partly = model(x)
    with inserted_off(model):
        assert torch.equal(model(x), plain(x))
    assert torch.equal(model(x), partly)
    with pytest.raises(RuntimeError, match="inside"), inserted_off(model):
        raise RuntimeError("an error inside the block")
    assert torch.equal(model(x), partly)
    attention_layers(model)["layer2.0"].active = True
    assert torch.equal(model(x), on)
    assert not torch.equal(on, partly)


def test_the_report_reads_each_layer_at_its_own_input_and_leaves_no_trace() -> None:
    model, x = awake(small()).train(), torch.randn(2, 3, 64, 64)
    state = copy.deepcopy(model.state_dict())
    report = layer_report(model, x)
    assert list(report) == list(SITES)
    assert model.training
    assert all(torch.equal(state[key], value) for key, value in model.state_dict().items())
    seen: list[torch.Tensor] = []
    layer = attention_layers(model.eval())["layer3.0"]
    handle = layer.register_forward_pre_hook(lambda _m, inputs: seen.append(inputs[0]))
    model(x)
    handle.remove()
    assert report["layer3.0"] == {"gamma_abs": layer.gamma_abs, "entropy": layer.entropy(seen[0])}
    assert not layer._forward_pre_hooks


def test_a_deep_copy_refers_to_its_own_layers() -> None:
    model, x = awake(small()).eval(), torch.randn(2, 3, 64, 64)
    before = model(x)
    copied = copy.deepcopy(model)
    with torch.no_grad():
        for parameter in copied.attention.parameters():
            parameter.add_(1)
    assert torch.equal(model(x), before)
    assert not torch.equal(copied(x), before)
    with inserted_off(copied):
        assert torch.equal(model(x), before)


def test_a_pickled_network_comes_back_whole() -> None:
    model, x = awake(small()).eval(), torch.randn(2, 3, 64, 64)
    buffer = io.BytesIO()
    torch.save(model, buffer)
    buffer.seek(0)
    assert torch.equal(torch.load(buffer, weights_only=False)(x), model(x))


def test_a_state_dict_round_trip_keeps_the_function() -> None:
    model, other, x = awake(small()).eval(), small().eval(), torch.randn(2, 3, 64, 64)
    other.load_state_dict(model.state_dict())
    assert torch.equal(other(x), model(x))


@pytest.mark.slow
def test_a_compiled_network_keeps_its_attention_and_its_gradients() -> None:
    """In a process of its own: dynamo cannot trace the shape checks that are switched on while tests run."""
    script = """
import torch
from medtransfer.models.classifier import NetworkConfig, attention_layers, inserted_off, build_network
from medtransfer.models.insertion import AttentionConfig

config = NetworkConfig(backbone="test_resnet", attention=AttentionConfig(sites=("layer2.0", "layer3.0")))
model, x = build_network(config, 3, seed=0).eval(), torch.randn(2, 3, 64, 64)
for layer in attention_layers(model).values():
    for parameter in layer.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
compiled = torch.compile(model, backend="aot_eager", fullgraph=True)
torch.testing.assert_close(compiled(x), model(x), rtol=1e-4, atol=1e-4)
with inserted_off(model):
    torch.testing.assert_close(compiled(x), model(x), rtol=1e-4, atol=1e-4)
compiled(x).sum().backward()
assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in attention_layers(model)["layer2.0"].parameters())
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]


def test_distributed_training_reduces_the_gradients_of_attention(tmp_path: Path) -> None:
    import torch.distributed as dist

    dist.init_process_group("gloo", init_method=f"file://{tmp_path / 'store'}", rank=0, world_size=1)
    try:
        model = awake(small())
        wrapped = nn.parallel.DistributedDataParallel(model)
        wrapped(torch.randn(2, 3, 64, 64)).square().sum().backward()
        assert all(p.grad is not None for p in model.parameters())
    finally:
        dist.destroy_process_group()


def test_no_classes_are_refused() -> None:
    with pytest.raises(ModelError, match="needs at least one class, got 0"):
        small(classes=0)


def test_networks_that_cannot_be_built_or_fed_are_refused_on_the_meta_device(monkeypatch: pytest.MonkeyPatch) -> None:
    built = []
    whole = classifier.build_network
    monkeypatch.setattr(classifier, "build_network", lambda *given: built.append(whole(*given)) or built[-1])
    require_network(NetworkConfig(backbone="test_resnet", cut="layer2"), side=24)
    assert {value.device.type for model in built for value in model.state_dict().values()} == {"meta"}
    with pytest.raises(ModelError, match="cut 'layer9' does not exist; this network can be cut after conv1, layer1"):
        require_network(NetworkConfig(backbone="test_resnet", cut="layer9"), side=24)
    with pytest.raises(ModelError, match="CBR without padding needs images of at least 91 px, got 64"):
        require_network(CBRConfig(size="tiny"), side=64)
