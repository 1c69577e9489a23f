import numpy as np
import pandas as pd
import pytest

from medtransfer.evaluation.binary import average_precision
from medtransfer.evaluation.pairs import paired_tests
from medtransfer.studies.truncated_transfer.claims import METRICS
from medtransfer.studies.truncated_transfer.report.findings import findings_table
from medtransfer.studies.truncated_transfer.report.paper_values import paper_values_table
from medtransfer.studies.truncated_transfer.report.results import mean_trapezoid, pairs, results

FINDINGS = ("edema", "pneumothorax")


@pytest.fixture(scope="module")
def several(make_config):
    variants = ("resnet50-random", "resnet50-transfer")
    tasks = {"ct": {"dataset": "ct", "findings": FINDINGS}}
    start = {"resnet50": {"kind": "train"}}
    return make_config(variants=variants, tasks=tasks, start=start, regimes={"all": {}})


@pytest.fixture(scope="module")
def table(several, predictions):
    """Two findings of which the second is not known for every fourth image."""
    draw, parts = np.random.default_rng(5), []
    images = predictions.drop_duplicates("image_id").reset_index(drop=True)
    for variant in several.variants:
        for seed in several.seeds:
            for number, finding in enumerate(FINDINGS):
                fit = {"variant": variant, "condition": "ct-all-tuned", "seed": seed}
                target = (draw.random(len(images)) < 0.3).astype(float) if not parts else None
                target = images["target"] if target is None or number == 0 else target
                target = target.mask(images.index % 4 == 0) if number else target
                score = (0.4 * target.fillna(0) + 0.6 * draw.random(len(images))).clip(0, 1)
                parts.append(images.assign(**fit, output=finding, score=score, target=target))
    return pd.concat(parts, ignore_index=True)


@pytest.fixture(scope="module")
def measured(table, several, evaluation):
    return results(table, several, evaluation)


def test_a_finding_is_scored_on_its_known_images(measured, table):
    row = findings_table(measured).rows[1]
    assert [cell.main for cell in row[:2]] == ["ct · all · tuned", "pneumothorax"]
    rows = table[(table["variant"] == "resnet50-transfer") & (table["output"] == "pneumothorax")].dropna(
        subset="target"
    )
    points = [average_precision(part["target"], part["score"]) for _, part in rows.groupby("seed")]
    assert row[4].main == f"{np.mean(points):.3f}"
    assert row[4].detail.startswith("AUROC 0.")
    assert row[2].main == f"{rows['target'].mean():.3f}"


def test_a_task_of_one_class_has_no_such_table(study_results):
    assert findings_table(study_results) is None


def test_the_papers_gain_on_pneumothorax_has_ours_next_to_it(measured, costs):
    rows = {row[1].main: row[3] for row in paper_values_table(measured, measured.rows(), costs).rows}
    finding = findings_table(measured).rows[1]
    gain = float(finding[4].main) - float(finding[3].main)
    gain_cell = rows["resnet50 TL minus RI on Pt auprc pct"]
    assert float(gain_cell.main.replace("−", "-")) == pytest.approx(100 * gain, abs=0.16)
    assert gain_cell.detail == "ct · all · tuned"
    assert rows["chexpert std max"].detail == "tasks of several findings"
    assert "covid std max" not in rows


def test_a_mean_over_several_findings_has_no_test_of_delong(measured, several):
    tests = paired_tests(measured.cells, pairs(several, "a1"), METRICS)
    assert np.isnan([row["p_images"] for row in tests]).all()
    assert not np.isnan([row["p"] for row in tests]).any()


def test_the_trapezoid_is_the_mean_over_findings(measured):
    mean, sd = mean_trapezoid(measured.cells["resnet50-transfer", "ct-all-tuned"])
    assert 0 < mean < 1
    assert sd > 0
