"""Wiring: which chains a phase completes, what they start from, which data they read, and ready-made starts."""

import re
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from medtransfer.errors import ConfigError
from medtransfer.files import write_json
from medtransfer.models.classifier import NetworkConfig, attention_layers, build_network
from medtransfer.models.weights import load_model
from medtransfer.params import parse_params, read_tree
from medtransfer.profiles import overlay
from medtransfer.studies import plans
from medtransfer.studies.attentive_transfer import study
from medtransfer.studies.attentive_transfer.fits import fit_names, parent_of
from medtransfer.training.engine import Engine, HardwareConfig
from medtransfer.training.fitting import Setting
from medtransfer.training.run import run_plan


@pytest.fixture
def setting():
    return Setting(engine=Engine(HardwareConfig(device="cpu", precision="fp32")), profile="toy", pointers={})


@pytest.fixture
def make_config(checkout):
    """The sample's study with some values replaced."""

    def make(**changes):
        tree = overlay(read_tree(checkout / "params.yaml"), {"attentive_transfer": changes})
        return parse_params(tree).attentive_transfer

    return make


def test_a_plain_checkpoint_becomes_the_chain_stl_n_under_attn_layers(make_config, setting, tmp_path, monkeypatch):
    plain = build_network(NetworkConfig(backbone="resnet18"), classes=1000, seed=7).eval()
    trunk = {name.removeprefix("trunk."): value for name, value in plain.state_dict().items() if "trunk." in name}
    head = {f"fc.{name}": value for name, value in plain.head.state_dict().items()}
    save_file(trunk | head, tmp_path / "plain.safetensors")
    start = {"kind": "file", "path": str(tmp_path / "plain.safetensors")}
    config = make_config(networks=["resnet18_attn5"], chains=["none"], start=start)
    monkeypatch.chdir(tmp_path)
    for plan in plans(study.NAME, config, "stl_n", "all", setting):
        run_plan(plan, setting)
    fit = study.source("resnet18_attn5", "stl_n", 0)
    loaded, description = load_model(fit.weights)
    images = torch.randn(2, 3, 64, 64)
    with torch.inference_mode():
        assert torch.equal(loaded(images), plain.to(memory_format=torch.channels_last)(images))
    assert len(attention_layers(loaded)) == 5
    assert description["extra"]["fit"]["condition"] == "stl_n"
    assert (fit.records / "ready_made.json").exists()


def test_untrained_networks_are_written_for_every_seed_that_anything_starts_from(
    make_config, setting, tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    config = make_config(
        networks=["test_resnet_attn0"], warmed={"networks": []}, chains=["none"], seeds=[0, 1], pretrain_seeds=[0, 7]
    )
    for plan in plans(study.NAME, config, "start", "all", setting):
        run_plan(plan, setting)
    written = {path.parent for path in Path("out").rglob("config.json")}
    assert written == {study.source("test_resnet_attn0", "none", seed).weights for seed in (0, 1, 7)}


def test_a_phase_completes_the_chains_that_end_with_it(make_config):
    config = make_config()
    completed = {phase: study.conditions(config, phase, "resnet18_attn5") for phase in study.PHASES}
    assert completed == {
        "start": ("none",),
        "stl_n": ("stl_n",),
        "warm_up": ("stl_n-warm_up",),
        "stl_m": ("none-stl_m", "stl_n-stl_m"),
        "sstl_m": ("stl_n-stl_m-sstl_m", "stl_n-stl_m-moco"),
        "finetune": config.chains,
    }


@pytest.mark.parametrize(
    ("phase", "chain", "seed", "expected"),
    [
        ("stl_n", "stl_n", 7, ("none", 7)),
        ("warm_up", "stl_n-warm_up", 7, ("stl_n", 7)),
        ("stl_m", "stl_n-warm_up-stl_m", 7, ("stl_n-warm_up", 7)),
        ("stl_m", "stl_n-stl_m", 7, ("stl_n", 7)),
        ("sstl_m", "stl_n-stl_m-moco", 7, ("stl_n-stl_m", 7)),
        ("finetune", "stl_n-stl_m", 2, ("stl_n-stl_m", 7)),
        ("finetune", "none", 2, ("none", 2)),
    ],
)
def test_a_fit_starts_from_its_chain_without_the_last_step(
    phase, chain, seed, expected, make_config, tmp_path, monkeypatch
):
    """Fine-tuning starts from the whole chain: with the pretraining seed of its place, without transfer its own."""
    monkeypatch.chdir(tmp_path)
    config = make_config(seeds=[0, 1, 2], pretrain_seeds=[7, 8])
    source = study.source("resnet18_attn5", *expected)
    write_json(source.weights / "config.json", {"sha256": "ab"})
    assert parent_of(config, phase, "resnet18_attn5", chain, seed).folder == source.weights


def test_a_fit_is_named_by_network_chain_and_method(make_config):
    named = fit_names(make_config(), "sstl_m", "resnet18_attn5", "stl_n-stl_m-sstl_m", 0)
    assert named["title"] == "resnet18_attn5 · stl_n→stl_m→sstl_m · multiscale"
    assert (named["variant"], named["condition"], named["folder"]) == (
        "resnet18_attn5",
        "stl_n-stl_m-sstl_m",
        "pretrain",
    )
    assert named["tags"] == {
        "network": "resnet18_attn5",
        "attention": "5 ATTN",
        "chain": "stl_n-stl_m-sstl_m",
        "chain_title": "stl_n→stl_m→sstl_m",
        "method": "multiscale",
    }
    compared = fit_names(make_config(), "sstl_m", "resnet18_attn0", "stl_n-stl_m-moco", 0)
    assert compared["title"] == "resnet18_attn0 · stl_n→stl_m→moco"
    assert compared["tags"]["method"] == "moco"


def test_the_study_reads_the_data_of_the_phases_that_its_chains_go_through(make_config):
    assert study.datasets(make_config()) == ("natural", "cxr", "ct", "ct_outside")
    ready_made = make_config(start={"kind": "timm"}, warmed={"networks": []}, chains=["stl_n"])
    assert study.datasets(ready_made) == ("cxr", "ct", "ct_outside")
    assert study.datasets(make_config(start={"kind": "timm"})) == ("natural", "cxr", "ct", "ct_outside")
    nothing = {"stl_m_after": [], "sstl_m_after": [], "methods": [], "methods_after": [], "warmed": {"networks": []}}
    assert study.datasets(make_config(chains=["none"], outside=[], **nothing)) == ("ct",)


WARMED = {
    "networks": ["resnet18_attn5", "resnet18_conv5"],
    "warm_up_after": ["stl_n"],
    "stl_m_after": ["stl_n-warm_up"],
    "sstl_m_after": ["stl_n-warm_up-stl_m"],
}


@pytest.fixture
def with_control(make_config):
    return make_config(
        networks=["resnet18_attn0", "resnet18_attn5", "resnet18_conv5"],
        warmed=WARMED,
        chains=["stl_n", "stl_n-warm_up", "stl_n-warm_up-stl_m", "stl_n-warm_up-stl_m-sstl_m"],
    )


def test_a_plain_network_has_no_chain_with_a_warm_up(with_control):
    assert study.variants(with_control, "warm_up") == ("resnet18_attn5", "resnet18_conv5")
    assert study.conditions(with_control, "finetune", "resnet18_attn0") == ("stl_n",)
    assert study.conditions(with_control, "stl_m", "resnet18_attn0") == ("none-stl_m", "stl_n-stl_m")
    for warmed in WARMED["networks"]:
        assert study.conditions(with_control, "finetune", warmed) == with_control.chains
        assert "stl_n-warm_up-stl_m" in study.conditions(with_control, "stl_m", warmed)
        assert "stl_n-warm_up-stl_m-sstl_m" in study.conditions(with_control, "sstl_m", warmed)
    chains = {network: [c for n, c in with_control.compared if n == network] for network in with_control.networks}
    assert [len(of) for of in chains.values()] == [1, 4, 4]


def test_a_control_is_named_apart_from_attn(with_control):
    structure = with_control.network("resnet18_conv5")
    assert (structure.backbone, structure.attention.kind, structure.attention.count) == ("resnet18", "convolution", 5)
    assert fit_names(with_control, "finetune", "resnet18_conv5", "stl_n", 0)["tags"]["attention"] == "5 convolutions"


def test_the_start_of_gamma_reaches_the_layers(make_config):
    config = make_config(attention={"gamma": 0.5})
    layers = attention_layers(build_network(config.network("resnet18_attn5"), classes=2, seed=0)).values()
    assert [layer.gamma_abs for layer in layers] == [0.5] * 5


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"warmed": {"networks": ["resnet18_attn0"]}}, "'resnet18_attn0' is no network with inserted layers"),
        ({"warmed": {"networks": ["resnet50_attn5"]}}, "there are resnet18_attn5"),
        ({"warm_up": None}, "there is no section warm_up"),
        ({"warmed": {"networks": []}}, "no phase makes 'stl_n-warm_up'"),
        (
            {"networks": ["resnet18_conv0"], "warmed": {"networks": []}},
            "network 'resnet18_conv0': expected",
        ),
    ],
)
def test_a_warm_up_that_cannot_be_is_refused(changes, reason, make_config):
    with pytest.raises(ConfigError, match=re.escape(reason)):
        make_config(**changes)
