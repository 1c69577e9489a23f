"""Claims on made-up samples and on a made-up predictions table."""

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import average_precision_score, roc_auc_score

from medtransfer.evaluation.predictions import prediction_rows
from medtransfer.evaluation.scorecard import EvaluationConfig
from medtransfer.evaluation.summary import Sample
from medtransfer.studies.truncated_transfer.claims import MARGIN, claims, judge_claim, judge_ties, measure, separates
from medtransfer.studies.truncated_transfer.config import Condition

ALL, FEW = Condition("ill", "all", "tuned"), Condition("ill", "half", "tuned")
VARIANTS = {
    "variants": [
        "densenet121-random",
        "densenet121-transfer",
        "densenet121_t1-transfer",
        "densenet121_s1-transfusion",
        "cbr_tiny-random",
    ],
    "start": {"densenet121": {"kind": "train"}},
    "protocols": ["tuned"],
}


def flat(level, wobble=0.0, seed=0):
    noise = np.random.default_rng(seed).normal(size=(2, 200)) * wobble
    return Sample(np.full(2, level), level + noise, "")


def measured(values, *, few=None, wobble=0.0):
    """The same AUROC and AUPRC for every variant, in both regimes unless the second is given."""
    conditions = {(variant, ALL): value for variant, value in values.items()} | {
        (variant, FEW): value for variant, value in (few or values).items()
    }
    samples = {key: flat(value, wobble, number) for number, (key, value) in enumerate(conditions.items())}
    return {"auroc": samples, "auprc": samples}


VALUES = dict(zip(VARIANTS["variants"], (0.6, 0.7, 0.69, 0.65, 0.6), strict=True))


def by_key(config, key, condition=ALL):
    return [claim for claim in claims(config) if claim.key == key and claim.condition == condition]


def test_transfer_is_compared_where_a_network_has_both_starts(make_config):
    (claim,) = by_key(make_config(**VARIANTS), "a1")
    assert claim.contrast == {("densenet121-transfer", ALL): 1.0, ("densenet121-random", ALL): -1.0}
    assert judge_claim(claim, measured(VALUES), level=0.95)["auprc"].estimate == pytest.approx(0.1)


def test_gains_with_few_data_are_compared_to_gains_with_all(make_config):
    (claim,) = by_key(make_config(**VARIANTS), "a2", FEW)
    few = VALUES | {"densenet121-random": 0.5}
    found = judge_claim(claim, measured(VALUES, few=few), level=0.95)["auprc"]
    assert (found.verdict, claim.margin) == ("holds", 0.0)
    assert found.estimate == pytest.approx(0.1)
    assert judge_claim(claim, measured(VALUES), level=0.95)["auprc"].verdict == "does not hold"


@pytest.mark.parametrize(("cut", "verdict"), [(0.75, "holds"), (0.69, "holds"), (0.67, "does not hold")])
def test_a_cut_is_as_good_as_the_whole_up_to_the_margin(make_config, cut, verdict):
    (claim,) = by_key(make_config(**VARIANTS), "b")
    assert claim.margin == MARGIN
    assert claim.statement.startswith("Dens-T1 is at least as good")
    found = judge_claim(claim, measured(VALUES | {"densenet121_t1-transfer": cut}), level=0.95)
    assert found["auprc"].verdict == found["auroc"].verdict == verdict


def test_truncation_meets_transfusion_at_the_same_block(make_config):
    (claim,) = by_key(make_config(**VARIANTS), "b_transfusion")
    assert claim.contrast == {("densenet121_t1-transfer", ALL): 1.0, ("densenet121_s1-transfusion", ALL): -1.0}


def test_a_thinned_regime_has_its_cuts_judged_but_is_no_few_data(make_config):
    config = make_config(**VARIANTS, regimes={"all": {}, "rare": {"negatives": {"train": 16}}})
    assert {claim.key for claim in claims(config) if claim.condition.regime == "rare"} == {"a1", "b", "b_transfusion"}
    assert not [claim for claim in claims(config) if claim.key == "a2"]


def test_an_variant_without_a_partner_makes_the_claim_undecidable(make_config):
    (claim,) = by_key(make_config(variants=["cbr_tiny-random"], protocols=["tuned"]), "a1")
    assert judge_claim(claim, measured(VALUES), level=0.95)["auprc"].reason == "nothing to compare was run"


@pytest.mark.parametrize(
    ("auroc", "auprc", "verdict", "broken"),
    [
        ((0.90, 0.90), (0.6, 0.4), "holds", (1, 0)),
        ((0.95, 0.90), (0.6, 0.6), "not decidable", (0, 1)),
        ((0.90, 0.90), (0.6, 0.6), "not decidable", (0, 0)),
        ((0.90, 0.90, 0.80), (0.6, 0.6, 0.6), "does not hold", (0, 2)),
    ],
)
def test_auprc_breaks_ties_or_does_not(auroc, auprc, verdict, broken):
    found = {
        name: {
            (variant, ALL): flat(value, 1e-3, number)
            for number, (variant, value) in enumerate(zip("abc", values, strict=False))
        }
        for name, values in (("auroc", auroc), ("auprc", auprc))
    }
    ties = judge_ties(found, ALL, level=0.95)
    assert ties.pairs == len(auroc) * (len(auroc) - 1) // 2
    assert ties.judged.verdict == verdict
    assert (ties.broken_by_auprc, ties.broken_by_auroc) == broken


def test_a_corrected_test_does_not_rest_on_the_most_extreme_resamples():
    draw = np.random.default_rng(0)
    one = Sample(np.array([3.2]), 3.2 + draw.normal(size=(1, 100)), "")
    corrected = 1 - 0.05 / 190
    assert (one.values > 0).all()  # percentiles of so few resamples would say that the difference is off zero
    assert not separates(one, level=corrected)
    assert separates(one, level=0.95)
    assert separates(Sample(one.points + 1.2, one.values + 1.2, ""), level=corrected)
    assert not separates(Sample(np.zeros(1), np.zeros((1, 100)), ""), level=corrected)


def predictions(config, draw):
    """Two seeds of every variant and condition on sixty patients, of which every fourth is positive."""
    images = pd.DataFrame({"image_id": [f"toy/{k}" for k in range(60)], "patient_id": [f"toy:{k}" for k in range(60)]})
    images = images.assign(dataset="toy", split="test", source="", view="", date=pd.NaT)
    target = (np.arange(60) % 4 == 0).astype(float)[:, None]
    return pd.concat(
        [
            prediction_rows(
                images,
                np.clip(0.3 * target + 0.7 * draw.random((60, 1)), 0, 1),
                target,
                outputs=["ill"],
                kind="probability",
                study="truncated_transfer",
                variant=f"{variant}-{condition.name}",
                network=variant.rpartition("-")[0],
                chain=f"{variant.rpartition('-')[2]}-{condition.regime}-{condition.protocol}",
                seed=seed,
            )
            for variant in config.variants
            for condition in config.conditions()
            for seed in (0, 1)
        ],
        ignore_index=True,
    )


def test_predictions_are_measured_variant_by_variant_with_shared_resamples(make_config):
    config = make_config(**VARIANTS)
    table = predictions(config, np.random.default_rng(0))
    found = measure(table, config, EvaluationConfig(draws=50))
    assert set(found["auprc"]) == {(variant, condition) for variant in config.variants for condition in (ALL, FEW)}
    variant = config.variants[1]
    for seed, points in enumerate(
        zip(found["auroc"][variant, FEW].points, found["auprc"][variant, FEW].points, strict=True)
    ):
        rows = table[(table["variant"] == f"{variant}-{FEW.name}") & (table["seed"] == seed)].sort_values("image_id")
        expected = [f(rows["target"], rows["score"]) for f in (roc_auc_score, average_precision_score)]
        assert points == pytest.approx(expected)
    assert found["auroc"][variant, ALL].values.shape == (2, 50)


def test_a_regime_that_sets_the_balance_is_measured_by_weighting_all_test_images(make_config):
    config = make_config(**VARIANTS, regimes={"all": {}, "half": {"negatives": {"test": 16}}})
    table = predictions(config, np.random.default_rng(0))
    found, variant = measure(table, config, EvaluationConfig(draws=50)), config.variants[1]
    rows = table[(table["variant"] == f"{variant}-{FEW.name}") & (table["seed"] == 0)].sort_values("image_id")
    weight = np.where(rows["target"] == 1, 1, 16 / 3)
    expected = average_precision_score(rows["target"], rows["score"], sample_weight=weight)
    assert found["auprc"][variant, FEW].points[0] == pytest.approx(expected)
    assert found["auroc"][variant, FEW].points[0] == pytest.approx(roc_auc_score(rows["target"], rows["score"]))


def test_a_finding_of_one_class_is_left_out_of_the_mean(make_config):
    config = make_config(**VARIANTS, tasks={"ill": {"dataset": "toy", "findings": ["ill", "rare"]}})
    table = predictions(config, np.random.default_rng(0))
    both = [table, table.assign(output="rare", target=0.0), table.assign(output="full", target=1.0)]
    alone, found = (measure(part, config, EvaluationConfig(draws=20)) for part in (table, pd.concat(both)))
    for metric in ("auroc", "auprc"):
        for key, one in found[metric].items():
            assert np.array_equal(one.points, alone[metric][key].points)
            assert np.array_equal(one.values, alone[metric][key].values, equal_nan=True)


def test_conditions_that_were_not_predicted_are_left_out(make_config):
    config = make_config(**VARIANTS)
    table = predictions(config, np.random.default_rng(0))
    found = measure(table[~table["variant"].str.endswith("half-tuned")], config, EvaluationConfig(draws=10))
    assert {condition for _, condition in found["auroc"]} == {ALL}
