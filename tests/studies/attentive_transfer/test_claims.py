import numpy as np
import pytest

from medtransfer.evaluation.contrasts import combine
from medtransfer.evaluation.summary import Sample
from medtransfer.studies.attentive_transfer.claims import CLAIMS, attention_pairs, judge
from medtransfer.studies.attentive_transfer.paper.values import WHOLE_CHAIN

NETWORKS = ("resnet50_attn0", "resnet50_attn5")
CHAINS = ("none", "stl_n", "none-stl_m", WHOLE_CHAIN)
CLAIM = {claim.key: claim for claim in CLAIMS}


def flat(level, wobble=0.0):
    """AUROC of two seeds with 200 resamples around a level."""
    noise = np.random.default_rng(0).normal(size=(2, 200)) * wobble
    return Sample(np.full(2, level), level + noise, "")


def measured(attention_gain, plain_gain, wobble=0.0):
    """Samples in which a chain adds a given gain to 0.6."""
    gains = dict(zip(NETWORKS, (plain_gain, attention_gain), strict=True))
    return {(n, c): flat(0.6 + (gains[n] if c != "none" else 0), wobble) for n in NETWORKS for c in CHAINS}


@pytest.mark.parametrize(
    ("attention_gain", "verdict"), [(0.3, "holds"), (0.1, "does not hold")], ids=["larger", "smaller"]
)
def test_the_sign_of_the_whole_interval_decides(attention_gain, verdict):
    found = judge(CLAIM["attention_gains_more"], measured(attention_gain, 0.2), networks=NETWORKS)
    assert found.verdict == verdict
    assert found.estimate == pytest.approx(attention_gain - 0.2)


def test_an_interval_that_holds_zero_decides_nothing():
    samples = measured(0.2, 0.2)
    samples["resnet50_attn5", WHOLE_CHAIN] = flat(0.8, wobble=0.05)
    found = judge(CLAIM["attention_is_better"], samples, networks=NETWORKS)
    assert found.low < 0 < found.high
    assert (found.verdict, found.reason) == ("not decidable", "the interval holds zero")


def test_inactive_attention_decides_nothing_about_attention():
    idle = {("resnet50_attn5", WHOLE_CHAIN)}
    samples = measured(0.3, 0.2)
    about_attention = judge(CLAIM["attention_is_better"], samples, networks=NETWORKS, inactive=idle)
    about_transfer = judge(CLAIM["transfer_helps"], samples, networks=NETWORKS, inactive=idle)
    assert about_attention.verdict == "not decidable"
    assert (about_attention.idle, about_attention.reason) == ((("resnet50_attn5", WHOLE_CHAIN),), "")
    assert (about_transfer.verdict, about_transfer.idle) == ("holds", ())


def test_a_chain_that_was_not_run_is_named():
    found = judge(CLAIM["lobes_beat_moco"], measured(0.2, 0.2), networks=NETWORKS)
    assert (found.verdict, found.absent, found.reason) == ("not decidable", ("stl_n-stl_m-moco",), "")


def test_one_network_alone_cannot_speak_of_attention():
    found = judge(CLAIM["attention_is_better"], measured(0.2, 0.2), networks=NETWORKS[:1])
    assert found.reason == "the study has no pair of networks with and without ATTN"


def test_the_papers_value_is_the_same_contrast_of_printed_numbers():
    found = judge(CLAIM["attention_gains_more"], measured(0.2, 0.2), networks=NETWORKS)
    assert found.paper == pytest.approx((0.968 - 0.869) - (0.903 - 0.846))


def test_networks_that_the_paper_does_not_have_have_no_paper_value():
    networks = ("resnet18_attn0", "resnet18_attn1")
    assert judge(CLAIM["transfer_helps"], {}, networks=networks).paper is None


def test_a_contrast_of_samples_is_taken_seed_by_seed_and_draw_by_draw():
    a, b = flat(0.7, 0.1), flat(0.6, 0.2)
    found = combine({("a", "x"): 1.0, ("b", "x"): -1.0}, {("a", "x"): a, ("b", "x"): b})
    np.testing.assert_allclose(found.values, a.values - b.values)
    np.testing.assert_allclose(found.points, [0.1, 0.1])


def test_every_network_with_attention_is_paired_with_its_own_backbone():
    networks = ("a_attn0", "a_attn1", "a_attn5", "b_attn5")
    assert attention_pairs(networks) == [("a_attn1", "a_attn0"), ("a_attn5", "a_attn0")]
