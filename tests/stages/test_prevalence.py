"""The verb prevalence on predictions of a study, of a registered model and of a CSV table."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from medtransfer.cli import run
from medtransfer.evaluation.predictions import prediction_rows, write_predictions
from medtransfer.stages import prevalence

PATIENTS = 60


def rows(split, variant, seed=0):
    draw = np.random.default_rng([seed, len(split)])
    target = (np.arange(PATIENTS) % 3 == 0).astype(float)
    images = pd.DataFrame(
        {"image_id": [f"{split}{number}" for number in range(PATIENTS)], "dataset": "cxr", "split": split}
        | dict.fromkeys(("patient_id", "source", "view"), "")
        | {"date": pd.NaT}
    )
    score = np.clip(draw.normal(0.35 + 0.3 * target, 0.2), 0, 1)
    names = {"study": "s", "variant": variant, "condition": "pooled", "seed": seed, "kind": "probability"}
    return prediction_rows(images, score[:, None], target[:, None], outputs=["covid"], **names)


@pytest.fixture(autouse=True)
def workspace(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def test_a_study_has_table_figure_and_rows(capsys):
    write_predictions([rows(split, name) for split in ("val", "test") for name in ("a", "b")], Path("p.parquet"))
    line = ["prevalence", "--predictions", "p.parquet", "--prevalence", "0.05", "--draws", "20"]
    assert run(line) == 2
    assert "variant: the table holds a, b, expected one; choose it with --variant" in capsys.readouterr().err
    assert run([*line, "--variant", "b"]) == run([*line, "--variant", "b"]) == 0
    table = pd.read_csv("out/prevalence/prevalence.csv")
    assert table["prevalence"].tolist() == pytest.approx([0.05, 1 / 3])
    validation = rows("val", "b")
    positive = np.sort(validation.loc[validation["target"] == 1, "score"])[::-1]
    assert table["threshold"].tolist() == pytest.approx([positive[15]] * 2)  # 16 of 20 are 80 %
    text = Path("out/prevalence/prevalence.svg").read_text(encoding="utf-8")
    assert "net benefit" in text
    assert "var(--" not in text
    said = capsys.readouterr().err
    assert f"{table['npv'][0]:.3f}" in said
    assert "60 validation images" in said


def test_the_threshold_of_a_registered_model_is_fixed_on_its_own_validation_images(monkeypatch):
    write_predictions([rows("test", "models:/m@champion")], Path("p.parquet"))
    line = ["prevalence", "--predictions", "p.parquet", "--draws", "20"]
    assert run(line) == 2
    monkeypatch.setattr(prevalence, "fetch_validation", lambda model: rows("val", model))
    assert run([*line, "--model", "models:/m@champion"]) == 0
    validation = rows("val", "any")
    positive = np.sort(validation.loc[validation["target"] == 1, "score"])[::-1]
    assert pd.read_csv("out/prevalence/prevalence.csv")["threshold"][0] == pytest.approx(positive[15])


def test_a_folder_with_anything_else_is_not_replaced(tmp_path, capsys):
    write_predictions([rows("val", "a"), rows("test", "a")], Path("p.parquet"))
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "keep.txt").write_text("keep")
    assert run(["prevalence", "--predictions", "p.parquet", "--draws", "5", "--out", "mine"]) == 2
    assert "holds 'keep.txt'" in capsys.readouterr().err
    assert (tmp_path / "mine" / "keep.txt").read_text() == "keep"


def test_without_validation_rows_there_is_no_threshold(capsys):
    write_predictions([rows("test", "a")], Path("p.parquet"))
    assert run(["prevalence", "--predictions", "p.parquet"]) == 2
    message = capsys.readouterr().err
    assert message.count("\n") == 1
    assert "validation rows" in message
