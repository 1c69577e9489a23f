"""Candidates are data: names, files, and defaults from the weights at hand."""

import pytest

from medtransfer.comparing.candidates import Candidate, defaults, distinct, parse, read, start_hash, weights_of
from medtransfer.errors import ConfigError


@pytest.fixture
def weights(tmp_path):
    for name, size in (("resnet10t.a1", 3), ("resnet14t.a1", 5)):
        (tmp_path / f"{name}.safetensors").write_bytes(b"x" * size)
    return tmp_path


def test_a_name_says_network_layers_cut_and_start(weights):
    one = parse("resnet10t_attn1_to_layer3@random", weights)
    assert one == Candidate(network="resnet10t", attention=1, cut="layer3", start="random")
    assert one.name == "resnet10t_attn1_to_layer3@random"
    assert one.structure.attention.count == 1
    assert one.structure.cut == "layer3"


def test_without_a_start_the_file_of_the_network_is_taken(weights):
    assert parse("resnet10t", weights).condition == "a1"
    assert parse("resnet18", weights).start == "random"
    assert parse("resnet18@models:/covid-ct@champion", weights).condition == "covid-ct-champion"


def test_defaults_are_every_network_and_the_lightest_cut_and_untrained(weights):
    names = [one.name for one in defaults(weights)]
    assert names == ["resnet10t@a1", "resnet14t@a1", "resnet10t_to_layer3@a1", "resnet10t@random"]


def test_a_file_may_hold_names_and_mappings(weights):
    (weights / "mine.yaml").write_text("- resnet10t\n- {network: resnet18, cut: layer2}\n")
    assert [one.name for one in read(str(weights / "mine.yaml"), weights)] == [
        "resnet10t@a1",
        "resnet18_to_layer2@random",
    ]


def test_other_weights_have_another_hash(weights):
    first, second = (start_hash(weights_of(one)) for one in defaults(weights)[:2])
    assert first != second
    assert start_hash(None) == ""


@pytest.mark.parametrize(
    ("act", "text"),
    [
        (lambda w: defaults(w / "absent"), "no weights"),
        (lambda w: read("resnet18,resnet18", w), "resnet18@random, expected one at least, each once"),
        (lambda w: read("resnet18_attn3", w), "candidate resnet18_attn3: attention"),
        (lambda w: read(str(w / "absent.yaml"), w), "not a readable YAML file"),
        (lambda w: weights_of(Candidate(network="resnet18", start="absent.safetensors")), "no weights at absent"),
        (lambda w: Candidate(network="cbr_tiny", attention=1).structure, "only timm's networks take ATTN"),
        (lambda w: distinct([]), "candidates: none"),
    ],
)
def test_what_is_refused(act, text, weights):
    with pytest.raises(ConfigError, match=text):
        act(weights)
