import pytest

from medtransfer.params import parse_params, read_tree
from medtransfer.profiles import overlay
from medtransfer.studies.attentive_transfer.explanations import phantom_coverage, whole_chain

CHAINS = ("none", "none-stl_m", "none-stl_m-sstl_m", "none-stl_m-moco")


@pytest.mark.parametrize(
    ("order", "whole"), [((0, 1, 2, 3), "none-stl_m-sstl_m"), ((3, 2, 1), "none-stl_m-moco"), ((0,), "none")]
)
def test_the_whole_chain_is_the_longest_and_the_first_of_equals(checkout, order, whole):
    chains = {"chains": [CHAINS[i] for i in order], "stl_m_after": ["none"], "sstl_m_after": ["none-stl_m"]}
    methods = {"methods": ["moco"], "methods_after": ["none-stl_m"]}
    tree = overlay(read_tree(checkout / "params.yaml"), {"attentive_transfer": chains | methods})
    assert whole_chain(parse_params(tree).attentive_transfer, "resnet18_attn0") == whole


def test_axial_boxes_cover_more_of_every_lobe_of_phantoms_in_every_pose():
    facts = phantom_coverage()
    assert list(facts["coverage"]) == ["upright", "tilted", "collapsed"]
    for pose, tables in facts["coverage"].items():
        assert min(tables["axial"].values()) > 0.75, pose
        assert tables["axial"]["rm"] > tables["reference"]["rm"] + 0.2, pose


def test_the_whole_chain_of_a_warmed_network_has_its_warm_up(checkout):
    tree = overlay(read_tree(checkout / "params.yaml"), {"attentive_transfer": {"chains": ["stl_n", "stl_n-warm_up"]}})
    config = parse_params(tree).attentive_transfer
    chains = [whole_chain(config, network) for network in ("resnet18_attn0", "resnet18_attn5")]
    assert chains == ["stl_n", "stl_n-warm_up"]
