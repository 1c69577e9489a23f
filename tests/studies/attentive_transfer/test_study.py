"""Ready-made starts: plain weights under ATTN layers give the plain network's outputs exactly."""

import torch
from safetensors.torch import save_file

from medtransfer.models.classifier import NetworkConfig, attention_layers, build_network
from medtransfer.models.weights import load_model
from medtransfer.params import parse_params, read_tree
from medtransfer.stages.workspace import overlay
from medtransfer.studies.attentive_transfer import study


def test_a_plain_checkpoint_becomes_the_chain_stl_n_under_attn_layers(checkout, tmp_path, monkeypatch):
    plain = build_network(NetworkConfig(backbone="resnet18"), classes=1000, seed=7).eval()
    trunk = {name.removeprefix("trunk."): value for name, value in plain.state_dict().items() if "trunk." in name}
    head = {f"fc.{name}": value for name, value in plain.head.state_dict().items()}
    save_file(trunk | head, tmp_path / "plain.safetensors")
    start = {"start": {"kind": "file", "path": str(tmp_path / "plain.safetensors")}}
    networks = {"networks": ["resnet18_attn5"]}
    params = parse_params(overlay(read_tree(checkout / "params.yaml"), {"attentive_transfer": networks}))
    tree = params.attentive_transfer.model_dump(mode="json") | start
    config = type(params.attentive_transfer).model_validate(tree)
    monkeypatch.chdir(tmp_path)
    study.write_ready_made(config, "resnet18_attn5")
    loaded, description = load_model(study.pretrained_folder("resnet18_attn5", "stl_n") / "weights" / "seed0")
    pictures = torch.randn(2, 3, 64, 64)
    with torch.inference_mode():
        assert torch.equal(loaded(pictures), plain(pictures))
    assert len(attention_layers(loaded)) == 5
    assert description["extra"]["chain"] == "stl_n"
