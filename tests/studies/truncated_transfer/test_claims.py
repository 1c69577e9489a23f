"""Claims on made-up samples and on a made-up predictions table."""

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import average_precision_score, roc_auc_score

from medtransfer.evaluation.cells import EvaluationConfig
from medtransfer.evaluation.predictions import prediction_rows
from medtransfer.evaluation.summary import Sample
from medtransfer.studies.truncated_transfer.claims import (
    MARGIN,
    METRICS,
    claims,
    judge_claim,
    judge_ties,
    measure_cells,
    separates,
)

ALL, FEW = "ill-all-tuned", "ill-half-tuned"
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
VALUES = dict(zip(VARIANTS["variants"], (0.6, 0.7, 0.69, 0.65, 0.6), strict=True))


@pytest.fixture
def cells(flat_cell):
    """The same AUROC and AUPRC for every variant, in both regimes unless the second is given."""

    def make(values, *, few=None):
        conditions = {(v, ALL): value for v, value in values.items()}
        conditions |= {(v, FEW): value for v, value in (few or values).items()}
        return {key: flat_cell(value, seed=number) for number, (key, value) in enumerate(conditions.items())}

    return make


def by_key(config, key, condition=ALL):
    return [claim for claim in claims(config) if claim.key == key and claim.setting == condition]


def test_transfer_is_compared_where_a_network_has_both_starts(make_config, cells):
    (claim,) = by_key(make_config(**VARIANTS), "a1")
    assert claim.contrast == {("densenet121-transfer", ALL): 1.0, ("densenet121-random", ALL): -1.0}
    assert judge_claim(claim, cells(VALUES))["auprc"].estimate == pytest.approx(0.1)


def test_gains_with_few_data_are_compared_to_gains_with_all(make_config, cells):
    (claim,) = by_key(make_config(**VARIANTS), "a2", FEW)
    few = VALUES | {"densenet121-random": 0.5}
    judgement = judge_claim(claim, cells(VALUES, few=few))["auprc"]
    assert (judgement.verdict, claim.margin) == ("holds", 0.0)
    assert judgement.estimate == pytest.approx(0.1)
    worse = VALUES | {"densenet121-random": 0.65}
    assert judge_claim(claim, cells(VALUES, few=worse))["auprc"].verdict == "does not hold"
    assert judge_claim(claim, cells(VALUES))["auprc"].verdict == "not decidable"


@pytest.mark.parametrize(("cut", "verdict"), [(0.75, "holds"), (0.69, "holds"), (0.67, "does not hold")])
def test_a_cut_is_as_good_as_the_whole_up_to_the_margin(make_config, cells, cut, verdict):
    (claim,) = by_key(make_config(**VARIANTS), "b")
    assert claim.margin == MARGIN
    assert claim.statement.startswith("(b) Dens-T1 is at least as good")
    judgements = judge_claim(claim, cells(VALUES | {"densenet121_t1-transfer": cut}))
    assert judgements["auprc"].verdict == judgements["auroc"].verdict == verdict


def test_truncation_meets_transfusion_at_the_same_block(make_config):
    (claim,) = by_key(make_config(**VARIANTS), "b_transfusion")
    assert claim.contrast == {("densenet121_t1-transfer", ALL): 1.0, ("densenet121_s1-transfusion", ALL): -1.0}


def test_a_thinned_regime_has_its_cuts_judged_but_does_not_count_as_few_data(make_config):
    config = make_config(**VARIANTS, regimes={"all": {}, "rare": {"neg_pos_ratio": {"train": 16}}})
    judged = {claim.key for claim in claims(config) if claim.setting == "ill-rare-tuned"}
    assert judged == {"a1", "b", "b_transfusion"}
    assert not [claim for claim in claims(config) if claim.key == "a2"]


def test_a_variant_without_a_partner_makes_the_claim_undecidable(make_config, cells):
    (claim,) = by_key(make_config(variants=["cbr_tiny-random"], protocols=["tuned"]), "a1")
    assert judge_claim(claim, cells(VALUES))["auprc"].reason == "nothing to compare was run"


@pytest.mark.parametrize(
    ("auroc", "auprc", "verdict", "broken"),
    [
        ((0.90, 0.90), (0.6, 0.4), "holds", (1, 0)),
        ((0.95, 0.90), (0.6, 0.6), "not decidable", (0, 1)),
        ((0.90, 0.90), (0.6, 0.6), "not decidable", (0, 0)),
        ((0.90, 0.90, 0.80), (0.6, 0.6, 0.6), "does not hold", (0, 2)),
        ((0.90, 0.90, 0.80), (0.6, 0.4, 0.4), "not decidable", (1, 1)),
    ],
)
def test_whether_auprc_breaks_ties(flat_cell, flat_sample, auroc, auprc, verdict, broken):
    cells = {}
    for number, (variant, *values) in enumerate(zip("abc", auroc, auprc, strict=False)):
        samples = {m: flat_sample(v, 1e-3, number) for m, v in zip(METRICS, values, strict=True)}
        cells[variant, ALL] = flat_cell(0.0, samples=samples)
    ties = judge_ties(cells, ALL)
    assert ties.pairs == len(auroc) * (len(auroc) - 1) // 2
    assert ties.judgement.verdict == verdict
    assert (ties.broken_by_auprc, ties.broken_by_auroc) == broken
    claim, by_metric = ties.judged
    assert (claim.key, claim.setting, by_metric["auprc"].estimate) == ("c", ALL, None)


def test_a_corrected_test_does_not_rest_on_the_most_extreme_resamples():
    draw = np.random.default_rng(0)
    one = Sample(np.array([3.2]), 3.2 + draw.normal(size=(1, 100)), "", (90, 90))
    corrected = 1 - 0.05 / 190
    assert (one.values > 0).all()  # percentiles of so few resamples would say that the difference is off zero
    assert not separates(one, level=corrected)
    assert separates(one, level=0.95)
    assert separates(Sample(one.points + 1.2, one.values + 1.2, "", (90, 90)), level=corrected)
    assert not separates(Sample(np.zeros(1), np.zeros((1, 100)), "", (90, 90)), level=corrected)
    assert not separates(Sample(np.ones(1), np.ones((1, 100)), "", (90, 90)), level=corrected)


def test_variants_of_equal_predictions_tie_and_none_breaks_the_tie(flat_cell):
    ties = judge_ties({("a", ALL): flat_cell(0.7, 0.1), ("b", ALL): flat_cell(0.7, 0.1)}, ALL)
    assert (ties.tied_auroc, ties.tied_auprc, ties.broken_by_auprc, ties.broken_by_auroc) == (1, 1, 0, 0)
    assert ties.judgement.verdict == "not decidable"


def test_without_patient_ids_no_tie_is_counted(flat_cell):
    unknown = np.array(["", ""], object)
    ties = judge_ties({(name, ALL): flat_cell(0.7, 0.1, patients=unknown) for name in "ab"}, ALL)
    assert (ties.judgement.verdict, ties.judgement.reason) == ("not decidable", "no patient ids")


def test_a_difference_without_a_value_is_no_tie(flat_cell):
    missing = Sample(np.full(2, np.nan), np.full((2, 200), np.nan), "there is no positive row", (60, 60))
    ties = judge_ties({("a", ALL): flat_cell(0.7), ("b", ALL): flat_cell(0.7, sample=missing)}, ALL)
    assert (ties.tied_auroc, ties.judgement.reason) == (0, "no two variants tie in AUROC")


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
                variant=variant,
                condition=condition.name,
                seed=seed,
            )
            for variant in config.variants
            for condition in config.conditions()
            for seed in (0, 1)
        ],
        ignore_index=True,
    )


def rows_of(table, variant, condition, seed):
    return table.query("variant == @variant and condition == @condition and seed == @seed").sort_values("image_id")


def test_predictions_are_measured_variant_by_variant_with_shared_resamples(make_config):
    config = make_config(**VARIANTS)
    table = predictions(config, np.random.default_rng(0))
    measured = measure_cells(table, config, EvaluationConfig(draws=50))
    assert list(measured) == [(variant, condition) for condition in (ALL, FEW) for variant in config.variants]
    variant = config.variants[1]
    for seed in (0, 1):
        rows = rows_of(table, variant, FEW, seed)
        for metric, function in zip(METRICS, (roc_auc_score, average_precision_score), strict=True):
            point = measured[variant, FEW].samples[metric].points[seed]
            assert point == pytest.approx(function(rows["target"], rows["score"]))
    assert measured[variant, ALL].samples["auroc"].values.shape == (2, 50)


def test_a_regime_that_sets_the_balance_is_measured_by_weighting_all_test_images(make_config):
    config = make_config(**VARIANTS, regimes={"all": {}, "half": {"neg_pos_ratio": {"test": 16}}})
    table, variant = predictions(config, np.random.default_rng(0)), config.variants[1]
    samples = measure_cells(table, config, EvaluationConfig(draws=50))[variant, FEW].samples
    rows = rows_of(table, variant, FEW, 0)
    weight = np.where(rows["target"] == 1, 1, 16 / 3)
    expected = average_precision_score(rows["target"], rows["score"], sample_weight=weight)
    assert samples["auprc"].points[0] == pytest.approx(expected)
    assert samples["auroc"].points[0] == pytest.approx(roc_auc_score(rows["target"], rows["score"]))


def test_a_finding_of_one_class_is_left_out_of_the_mean(make_config):
    config = make_config(**VARIANTS, tasks={"ill": {"dataset": "toy", "findings": ["ill", "rare"]}})
    table = predictions(config, np.random.default_rng(0))
    one_class = [table.assign(output="rare", target=0.0), table.assign(output="full", target=1.0)]
    fewer, more = (pd.concat([table, *one_class[:count]]) for count in (1, 2))
    alone, measured = (measure_cells(part, config, EvaluationConfig(draws=20)) for part in (fewer, more))
    for key, cell in measured.items():
        for metric in METRICS:
            one, other = cell.samples[metric], alone[key].samples[metric]
            assert np.array_equal(one.points, other.points)
            assert np.array_equal(one.values, other.values, equal_nan=True)


def test_conditions_that_were_not_predicted_are_left_out(make_config):
    config = make_config(**VARIANTS)
    table = predictions(config, np.random.default_rng(0))
    measured = measure_cells(table[table["condition"] != FEW], config, EvaluationConfig(draws=10))
    assert {condition for _, condition in measured} == {ALL}
