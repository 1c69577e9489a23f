import pytest

from medtransfer.evaluation.compare import delong_test, holm
from medtransfer.studies.attentive_transfer.report.comparisons import (
    attention_against_convolution,
    method_against_method,
)
from medtransfer.studies.attentive_transfer.report.results import measure


@pytest.fixture(scope="module")
def compared(predictions, settings):
    cells = measure(predictions, settings)["ct"]
    return attention_against_convolution(cells, settings.networks, settings.chains)


def test_the_test_is_delongs_over_patients_on_scores_averaged_over_seeds(compared, predictions):
    rows = predictions.query("dataset == 'ct' and split == 'test' and output == 'covid' and chain == 'stl_n'")
    mean = rows.groupby(["network", "image_id"])["score"].mean()
    images = rows.drop_duplicates("image_id").set_index("image_id")
    scores = [mean[network].loc[images.index] for network in ("resnet50_attn5", "resnet50_attn0")]
    expected = delong_test(images["target"], *scores, images["patient_id"])
    assert expected.variance != delong_test(images["target"], *scores).variance
    row = compared.set_index("chain").loc["stl_n"]
    assert (row["auroc"], row["auroc_b"], row["p"]) == pytest.approx((expected.auroc_a, expected.auroc_b, expected.p))
    assert row["high"] - row["low"] == pytest.approx(2 * 1.959964 * expected.variance**0.5)


def test_p_values_are_adjusted_over_all_chains(compared):
    assert len(compared) == 5
    assert list(compared["p_holm"]) == pytest.approx(list(holm(compared["p"])))


def test_what_could_be_detected_is_what_eighty_per_cent_power_asks_of_the_standard_error(compared):
    error = (compared["high"] - compared["low"]) / (2 * 1.959964)
    assert list(compared["detectable"]) == pytest.approx(list((1.959964 + 0.841621) * error), rel=1e-5)


def test_a_network_without_a_plain_partner_is_not_compared(predictions, settings):
    cells = measure(predictions, settings)["ct"]
    assert attention_against_convolution(cells, settings.networks[1:], settings.chains).empty


def test_methods_are_compared_within_a_network_and_adjusted_over_all_networks(predictions, settings):
    renamed = predictions.replace({"chain": {"stl_n-stl_m": "stl_n-stl_m-moco"}})
    chains = ("none", "stl_n-stl_m-moco", "stl_n-stl_m-sstl_m")
    cells = measure(renamed, settings.model_copy(update={"chains": chains}))["ct"]
    found = method_against_method(cells, settings.networks, chains)
    assert list(found["network"]) == list(settings.networks)
    assert set(found["chain"]) == {"stl_n-stl_m-sstl_m"}
    assert set(found["chain_b"]) == {"stl_n-stl_m-moco"}
    assert list(found["difference"]) == pytest.approx(list(found["auroc"] - found["auroc_b"]))
    assert list(found["p_holm"]) == pytest.approx(list(holm(found["p"])))


def test_without_another_method_there_is_nothing_to_compare(predictions, settings):
    cells = measure(predictions, settings)["ct"]
    assert method_against_method(cells, settings.networks, settings.chains).empty
