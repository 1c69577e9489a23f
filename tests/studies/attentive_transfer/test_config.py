"""Chains and recipes: what a name stands for, and which names are refused."""

import pytest

from medtransfer.errors import ConfigError
from medtransfer.params import parse_params, read_tree
from medtransfer.profiles import overlay


@pytest.fixture
def parsed(checkout):
    """The sample's study with some values replaced."""

    def parse(**changes):
        tree = overlay(read_tree(checkout / "params.yaml"), {"attentive_transfer": changes})
        return parse_params(tree).attentive_transfer

    return parse


def test_a_compared_method_replaces_sstl_m_on_the_same_data(parsed):
    config = parsed()
    rival, own = config.recipe("stl_n-stl_m-moco"), config.recipe("stl_n-stl_m-sstl_m")
    assert (rival.method.name, own.method.name) == ("moco", "multiscale")
    assert (rival.dataset, rival.probe_neighbours) == (own.dataset, own.probe_neighbours)
    assert not rival.wants_regions
    assert own.wants_regions


def test_a_chain_that_ends_with_labels_has_no_recipe(parsed):
    assert parsed().recipe("stl_n-stl_m") is None
    assert parsed().recipe("none") is None


def test_a_region_loss_without_regions_is_refused(parsed):
    with pytest.raises(ConfigError, match="needs region_size and region_augment"):
        parsed(sstl_m={"region_size": None})


def test_without_a_weight_of_the_region_loss_no_region_is_needed(parsed):
    config = parsed(sstl_m={"method": {"name": "multiscale", "queue": 128, "alpha2": 0}, "region_size": None})
    assert not config.sstl_m.wants_regions


def test_a_method_without_recipe_is_refused(parsed):
    with pytest.raises(ConfigError, match="there is no recipe 'simclr'; there are moco"):
        parsed(methods=["simclr"])


def test_a_method_after_a_chain_that_no_phase_makes_is_refused(parsed):
    with pytest.raises(ConfigError, match="methods_after: no phase makes chain 'stl_m'"):
        parsed(methods_after=["stl_m"])


@pytest.mark.parametrize(
    ("networks", "sites", "text"),
    [
        (["resnet18_attn2"], {}, "'resnet18_attn2': only 0, 1 or 5 layers have default places; list 2 blocks"),
        (
            ["resnet18_attn5"],
            {"resnet18_attn5": ["layer2.0"]},
            "'resnet18_attn5': 1 blocks, expected 5 as its name says",
        ),
        (
            ["resnet18_attn0"],
            {"resnet18_attn0": ["layer2.0"]},
            "'resnet18_attn0': 1 blocks, expected 0 as its name says",
        ),
        (
            ["resnet18_attn5"],
            {"resnet18_atn5": ["layer2.0"]},
            "'resnet18_atn5' is not a network; there are resnet18_attn5",
        ),
        (["resnet18"], {}, "network 'resnet18': expected <timm name>_attn<number>"),
    ],
)
def test_a_network_that_has_other_layers_than_its_name_says_is_refused(parsed, networks, sites, text):
    with pytest.raises(ConfigError, match=text):
        parsed(networks=networks, attention={"sites": sites})


def test_named_blocks_may_have_any_number(parsed):
    config = parsed(
        networks=["resnet18_attn2"],
        warmed={"networks": []},
        chains=["none"],
        attention={"sites": {"resnet18_attn2": ["layer2.0", "layer3.1"]}},
    )
    assert config.network("resnet18_attn2").attention.sites == ("layer2.0", "layer3.1")


@pytest.mark.parametrize("key", ["networks", "chains", "seeds", "pretrain_seeds"])
def test_nothing_runs_twice(parsed, key):
    once = getattr(parsed(), key)
    with pytest.raises(ConfigError, match=f"{key}: {once[0]} occurs twice, expected each once"):
        parsed(**{key: [*once, once[0]]})


@pytest.mark.parametrize("key", ["networks", "seeds", "pretrain_seeds"])
def test_an_empty_list_is_refused(parsed, key):
    with pytest.raises(ConfigError, match=key):
        parsed(**{key: []})


def test_a_recipe_name_must_fit_into_a_chain(parsed):
    with pytest.raises(ConfigError, match="recipes"):
        parsed(recipes={"mo-co": parsed().recipes["moco"].model_dump(mode="json")})
