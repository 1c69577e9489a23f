"""Wiring: which chains a phase completes, what they start from, which data they read, and ready-made starts."""

from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

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
    config = make_config(networks=["resnet18_attn5"], start=start)
    monkeypatch.chdir(tmp_path)
    for plan in plans(study.NAME, config, "stl_n", "all", setting):
        run_plan(plan, setting)
    fit = study.source("resnet18_attn5", "stl_n", 0)
    loaded, description = load_model(fit.weights)
    images = torch.randn(2, 3, 64, 64)
    with torch.inference_mode():
        assert torch.equal(loaded(images), plain(images))
    assert len(attention_layers(loaded)) == 5
    assert description["extra"]["fit"]["condition"] == "stl_n"
    assert (fit.records / "ready_made.json").exists()


def test_untrained_networks_are_written_for_every_seed_that_anything_starts_from(
    make_config, setting, tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    config = make_config(networks=["test_resnet_attn0"], seeds=[0, 1], pretrain_seeds=[0, 7])
    for plan in plans(study.NAME, config, "start", "all", setting):
        run_plan(plan, setting)
    written = {path.parent for path in Path("out").rglob("config.json")}
    assert written == {study.source("test_resnet_attn0", "none", seed).weights for seed in (0, 1, 7)}


def test_a_phase_completes_the_chains_that_end_with_it(make_config):
    config = make_config()
    completed = {phase: study.conditions(config, phase, "") for phase in study.PHASES}
    assert completed == {
        "start": ("none",),
        "stl_n": ("stl_n",),
        "stl_m": ("none-stl_m", "stl_n-stl_m"),
        "sstl_m": ("stl_n-stl_m-sstl_m", "stl_n-stl_m-moco"),
        "finetune": config.chains,
    }


@pytest.mark.parametrize(
    ("phase", "chain", "seed", "expected"),
    [
        ("stl_n", "stl_n", 7, ("none", 7)),
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
    ready_made = make_config(start={"kind": "timm"})
    assert study.datasets(ready_made) == ("cxr", "ct", "ct_outside")
    nothing = {"stl_m_after": [], "sstl_m_after": [], "methods": [], "methods_after": []}
    assert study.datasets(make_config(chains=["none"], outside=[], **nothing)) == ("ct",)
