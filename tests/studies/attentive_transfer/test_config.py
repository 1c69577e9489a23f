"""Chains and recipes: what a name stands for, and which names are refused."""

import pytest

from medtransfer.errors import ConfigError
from medtransfer.params import parse_params, read_tree
from medtransfer.stages.workspace import overlay


@pytest.fixture
def parsed(checkout):
    """The sample's study with some values replaced."""

    def parse(**changes):
        tree = overlay(read_tree(checkout / "params.yaml"), {"attentive_transfer": changes})
        return parse_params(tree).attentive_transfer

    return parse


def test_a_compared_method_takes_the_place_of_sstl_m_on_the_same_data(parsed):
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
    with pytest.raises(ConfigError, match="no recipe is called 'simclr'; there are moco"):
        parsed(methods=["simclr"])


def test_a_method_after_a_chain_that_nobody_makes_is_refused(parsed):
    with pytest.raises(ConfigError, match="methods_after: no phase makes the chain 'stl_m'"):
        parsed(methods_after=["stl_m"])


def test_a_recipe_name_must_fit_into_a_chain(parsed):
    with pytest.raises(ConfigError, match="recipes"):
        parsed(recipes={"mo-co": parsed().recipes["moco"].model_dump(mode="json")})
