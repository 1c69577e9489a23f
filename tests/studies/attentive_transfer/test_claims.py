import pytest

from medtransfer.studies.attentive_transfer.claims import attention_pairs, claims, judge_claim
from medtransfer.studies.attentive_transfer.paper.values import WHOLE_CHAIN

NETWORKS = ("resnet50_attn0", "resnet50_attn5")
CHAINS = ("none", "stl_n", "none-stl_m", WHOLE_CHAIN)


def claim(key, networks=NETWORKS):
    return next(claim for claim in claims(networks) if claim.key == key)


@pytest.fixture
def cells(flat_cell):
    """Cells in which a chain adds a given gain to an AUROC of 0.6."""

    def make(attention_gain, plain_gain):
        gains = dict(zip(NETWORKS, (plain_gain, attention_gain), strict=True))
        keys = [(network, chain) for network in NETWORKS for chain in CHAINS]
        return {
            (n, c): flat_cell(0.6 + (gains[n] if c != "none" else 0), seed=number) for number, (n, c) in enumerate(keys)
        }

    return make


@pytest.mark.parametrize(
    ("attention_gain", "verdict"), [(0.3, "holds"), (0.1, "does not hold")], ids=["larger", "smaller"]
)
def test_the_sign_of_the_whole_interval_decides(cells, attention_gain, verdict):
    judgement = judge_claim(claim("attention_gains_more"), cells(attention_gain, 0.2))
    assert judgement.verdict == verdict
    assert judgement.estimate == pytest.approx(attention_gain - 0.2)


def test_inactive_attention_decides_nothing_about_attention(cells):
    idle = [("resnet50_attn5", WHOLE_CHAIN)]
    about_attention = judge_claim(claim("attention_is_better"), cells(0.3, 0.2), inactive=idle)
    about_transfer = judge_claim(claim("transfer_helps"), cells(0.3, 0.2), inactive=idle)
    assert (about_attention.verdict, about_attention.excluded) == ("not decidable", tuple(idle))
    assert about_attention.reason == "attention is inactive in resnet50 + 5 ATTN (STL-N → STL-M → SSTL-M)"
    assert (about_transfer.verdict, about_transfer.excluded) == ("holds", ())


def test_a_chain_that_was_not_run_is_named_once_for_all_networks(cells):
    judgement = judge_claim(claim("lobes_beat_moco"), cells(0.2, 0.2))
    assert (judgement.verdict, judgement.reason) == ("not decidable", "not run: STL-N → STL-M → MoCo")


def test_one_network_alone_cannot_decide_about_attention(cells):
    judgement = judge_claim(claim("attention_is_better", NETWORKS[:1]), cells(0.2, 0.2))
    assert judgement.reason == "the study has no pair of networks with and without ATTN"


def test_the_papers_value_is_the_same_contrast_of_printed_numbers(cells):
    judgement = judge_claim(claim("attention_gains_more"), cells(0.2, 0.2))
    assert judgement.paper == pytest.approx((0.968 - 0.869) - (0.903 - 0.846))


def test_networks_that_the_paper_does_not_have_have_no_paper_value():
    assert judge_claim(claim("transfer_helps", ("resnet18_attn0", "resnet18_attn1")), {}).paper is None


def test_every_claim_says_what_its_contrast_computes():
    by_key = {claim.key: claim for claim in claims(NETWORKS)}
    assert list(by_key) == [
        "transfer_helps",
        "stl_n_helps",
        "stl_m_helps",
        "attention_is_better",
        "attention_gains_more",
        "attention_gains_more_stl_n",
        "attention_gains_more_stl_m",
        "lobes_beat_moco",
        "lobes_beat_simclr",
    ]
    assert by_key["stl_m_helps"].how == "mean over networks of AUROC after STL-M alone − AUROC without transfer"
    assert by_key["stl_m_helps"].contrast == {
        (network, chain): sign / 2 for network in NETWORKS for chain, sign in (("none-stl_m", 1), ("none", -1))
    }
    assert by_key["attention_gains_more_stl_n"].source == "Table 5"
    assert by_key["attention_gains_more_stl_n"].how.endswith("gain = AUROC after STL-N alone − without")


def test_every_network_with_attention_is_paired_with_its_own_backbone():
    networks = ("a_attn0", "a_attn1", "a_attn5", "b_attn5")
    assert attention_pairs(networks) == [("a_attn1", "a_attn0"), ("a_attn5", "a_attn0")]
