"""The study from bases to its page, on a few drawn X-rays."""

import json
import shutil
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from pydantic import ValidationError

from medtransfer.evaluation.cells import EvaluationConfig
from medtransfer.evaluation.predictions import validate_predictions
from medtransfer.explain.panels import write_panel
from medtransfer.files import write_json
from medtransfer.models.weights import load_model
from medtransfer.reporting.input import ReportInput
from medtransfer.reporting.origin import Origin
from medtransfer.studies.visual_transfer import study
from medtransfer.studies.visual_transfer.attribution import share_inside
from medtransfer.studies.visual_transfer.claims import AUROC, SHARE, claims, pairs
from medtransfer.studies.visual_transfer.config import VisualTransferConfig
from medtransfer.studies.visual_transfer.explanations import explanations
from medtransfer.studies.visual_transfer.predictions import contests, fitted, predictions
from medtransfer.studies.visual_transfer.report import build, collect
from medtransfer.studies.visual_transfer.report.results import MEAN, shares_of
from medtransfer.studies.visual_transfer.titles import column_title

from .conftest import STUDY

WITH_WEIGHTS = {"plain", "benchmark", "natural", "chest", "chest_all"}


def test_a_base_without_weights_says_why_and_its_columns_are_left_out(config, inside):
    reasons = {name: json.loads((study.base(name).records / "ready_made.json").read_text()) for name in config.bases}
    assert reasons["absent"] == {"absent": "no weights are declared"}
    assert reasons["lost"] == {"absent": "lost.safetensors does not exist"}
    assert "absent" not in reasons["chest"]
    assert {one.variant for one in fitted(config)} == WITH_WEIGHTS | {"benchmark-zoom"}
    assert {variant for variant, _ in contests(config)[0].fits} == WITH_WEIGHTS
    assert not study.fitted("lost", 0).weights.exists()


def test_a_frozen_base_keeps_its_weights_and_all_layers_learn_otherwise(config, inside):
    base = load_model(study.base("chest").weights)[0].trunk.state_dict()
    frozen, whole = (load_model(study.fitted(name, 0).weights)[0].trunk.state_dict() for name in ("chest", "chest_all"))
    assert all((frozen[key] == value).all() for key, value in base.items())
    assert not all((whole[key] == value).all() for key, value in base.items())


def test_images_are_normalised_as_the_base_was(config, inside):
    prepared = {name: load_model(study.fitted(name, 0).weights)[1]["preprocessing"] for name in WITH_WEIGHTS}
    assert (prepared["natural"]["mean"], prepared["natural"]["std"]) == ([0.5], [0.5])
    assert (prepared["chest"]["mean"], prepared["chest_all"]["std"]) == ([0.4], [0.3])
    assert (prepared["benchmark"]["mean"], prepared["benchmark"]["std"]) == ([0.0], [1.0])


@pytest.fixture(scope="module")
def table(config, study_folder, engine):
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(study_folder)
        return validate_predictions(pd.concat(predictions(config, engine), ignore_index=True))


def test_every_fit_and_floor_is_predicted_on_validation_and_test_images(config, table):
    seeds = table.groupby("variant")["seed"].unique().map(list).to_dict()
    assert {name: [0, 1] for name in WITH_WEIGHTS}.items() <= seeds.items()
    assert seeds["benchmark-zoom"] == seeds["thumbnail"] == seeds["frozen_features"] == [0]
    assert set(table["split"]) == {"val", "test"}
    truth = table[table["split"] == "test"].drop_duplicates("image_id")["target"]
    assert (len(truth), truth.sum()) == (12, 4)


@pytest.fixture(scope="module")
def report_input(config, study_folder, engine, table):
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(study_folder)
        panels, facts = explanations(config, engine)
    folder = study_folder / "out/visual_transfer"
    for name, panel in panels.items():
        write_panel(panel, folder / f"results/explanations/{name}.png")
    write_json(folder / "results/explanations/explanations.json", facts)
    return ReportInput(
        folder=folder,
        predictions=table,
        origin=Origin({}, gate={}),
        champions=(),
        config=config,
        evaluation=EvaluationConfig(draws=50),
        profile="toy",
    )


def test_shares_are_of_test_images_with_lungs(report_input):
    facts = json.loads((report_input.results / "explanations/explanations.json").read_text())
    known = facts["attribution"]
    assert 0 < len(known["images"]) < 12
    assert set(known["explainers"]) == {"grad_cam", "saliency"}
    assert set(known["explainers"]["grad_cam"]) == WITH_WEIGHTS
    shares = np.array(known["explainers"]["saliency"]["chest"]["shares"])
    assert shares.shape == (2, len(known["images"]))
    assert ((shares >= 0) & (shares <= 1)).all()
    assert facts["maximized"]["layers"] == {"benchmark": "trunk.conv2", "chest": "head.conv"}


def test_the_page_has_the_paper_s_columns_and_says_what_is_not_available(report_input, monkeypatch):
    monkeypatch.setattr(collect, "provenance_table", lambda fits: None)
    monkeypatch.setattr(collect, "provenance", lambda fits: pd.DataFrame({"git_dirty": []}))
    monkeypatch.setattr(Origin, "parts", lambda self, profile: {"origin": "", "phantoms": True, "data": ()})
    content = build(report_input)
    tables = {one.key: one for one in content.results}
    assert list(tables)[:2] == ["table1", "attribution"]
    rows = {row[0].main: row for row in tables["table1"].rows}
    assert rows["vgg16"][4].main == "0.721"
    assert [cell.main for cell in rows["vgg16"][-3:]] == ["not available"] * 3
    assert rows["lost"][-1].hover == "lost.safetensors does not exist"
    assert rows["plain"][7].main == "n/a"
    assert sum(row[0].main == "floor" for row in tables["table1"].rows) == 2
    assert {figure.key for figure in content.figures} == {
        "shares", "scores", "figure1", "figure1_saliency", "figure2", "figure3"
    }  # fmt: skip
    assert "inside the lungs: " in content.headline[0]
    assert [row[0].main for row in tables["augmentations"].rows] == ["zoom"]


SMALL = {
    "one column from scratch": (["plain"], (0, 1)),
    "one frozen base": (["chest"], (0, 1)),
    "one seed": (["plain", "natural", "chest"], (0,)),
    "one of each": (["chest_all"], (0,)),
}


@pytest.mark.parametrize(("columns", "seeds"), SMALL.values(), ids=SMALL)
def test_what_was_not_run_has_no_row_and_the_answer_has_a_number(report_input, tmp_path, monkeypatch, columns, seeds):
    """With tried augmentations none, no floor from a base, and the explanations of these columns alone."""
    monkeypatch.setattr(collect, "provenance_table", lambda fits: None)
    monkeypatch.setattr(collect, "provenance", lambda fits: pd.DataFrame({"git_dirty": []}))
    monkeypatch.setattr(Origin, "parts", lambda self, profile: {"origin": "", "phantoms": True, "data": ()})
    chosen = {name: report_input.config.columns[name] for name in columns}
    config = report_input.config.model_copy(update={"columns": chosen, "seeds": seeds, "tried": (), "floor": ""})
    shutil.copytree(report_input.folder, tmp_path / "study")
    about = tmp_path / "study/results/explanations/explanations.json"
    facts = json.loads(about.read_text())
    for found in facts["attribution"]["explainers"].values():
        for name in [*found]:
            found[name] = {key: values[: len(seeds)] for key, values in found[name].items()}
            if name not in columns:
                del found[name]
    write_json(about, facts | {"maximized": {"columns": []}})
    rows = report_input.predictions
    own = rows[rows["variant"].isin([*columns, "thumbnail"]) & rows["seed"].isin(seeds)]
    content = build(replace(report_input, folder=tmp_path / "study", predictions=own, config=config))
    tables, titles = {one.key: one for one in content.results}, [column_title(name) for name in columns]
    assert [row[0].main for row in tables["table1"].rows] == [*titles, "floor"]
    assert [row[0].main for row in tables["attribution"].rows] == titles
    assert "augmentations" not in tables
    answer = content.headline[-1]
    if len(columns) == 1:
        test = tables["table1"].rows[0][-2]
        assert answer == f"AUROC on the test images: {titles[0]}: {f'{test.main} {test.detail}'.strip()}."
    assert any(character.isdigit() for character in answer)


def test_the_interval_of_a_share_stays_between_0_and_1(config):
    patients = [f"p{number}" for number in range(30)]
    values = {"seeds": [0, 1], "shares": [[0.1] * 15 + [0.2] * 15, [0.8] * 15 + [0.9] * 15], "flat": [0, 0]}
    known = {
        "images": patients,
        "patients": patients,
        "area": [0.3] * 30,
        "explainers": {"grad_cam": {"chest": values}},
    }
    cells = shares_of({"attribution": known}, config, EvaluationConfig(draws=100))["grad_cam"]
    low, high = cells["chest", "against_rest"].samples[MEAN].bounds(level=0.95)
    assert 0 < low < 0.5 < high < 1


def test_only_columns_that_differ_in_their_pretraining_alone_are_paired(config):
    assert pairs(config, WITH_WEIGHTS, frozen=True) == [("chest", "natural")]
    assert pairs(config, WITH_WEIGHTS, frozen=False) == []
    about = {claim.key: claim for kind in (AUROC, SHARE) for claim in claims(config, kind, WITH_WEIGHTS)}
    assert about["near_frozen"].contrast == {("chest", "against_rest"): 1.0, ("natural", "against_rest"): -1.0}
    assert not about["near_all"].contrast
    other = VisualTransferConfig.model_validate(
        STUDY | {"columns": STUDY["columns"] | {"chest": {"base": "chest", "augmentation": "none"}}}
    )
    assert pairs(other, WITH_WEIGHTS, frozen=True) == []


def test_a_share_is_the_heat_inside_over_all_heat_and_a_flat_map_is_spread_evenly():
    heat = np.zeros((2, 4, 4), np.float32)
    heat[0, 0, 0], heat[0, 3, 3] = 1, 3
    inside = np.zeros((2, 4, 4), bool)
    inside[:, :2] = True
    shares, flat = share_inside(heat, inside)
    assert shares.tolist() == [0.25, 0.5]
    assert flat == 1


def test_the_paper_s_lengths_are_those_of_each_column(config):
    longer = STUDY | {
        "columns": STUDY["columns"] | {"plain": {"augmentation": "none", "budget": {"epochs": 12, "lr": 0.1}}}
    }
    train = VisualTransferConfig.model_validate(longer).train_of("plain")
    assert (train.epochs, train.steps, train.optimizer.lr) == (12, None, 0.1)
    assert config.train_of("benchmark").steps == 2


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"floor": "none"}, "floor: bases has no 'none'"),
        ({"tried": ["spin"]}, "augmentations has no 'spin'"),
        ({"columns": {"one": {"base": "gone", "augmentation": "none"}}}, "bases has no 'gone'"),
        ({"maximized": {"columns": ["gone"]}}, "there is no column 'gone'"),
    ],
)
def test_names_that_do_not_exist_are_refused(changes, said):
    with pytest.raises(ValidationError, match=said):
        VisualTransferConfig.model_validate(STUDY | changes)
