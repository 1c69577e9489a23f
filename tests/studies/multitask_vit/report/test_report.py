"""The report on made-up predictions: every number is recomputed from the table."""

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import roc_auc_score

from medtransfer.data.manifest import collection_of
from medtransfer.evaluation.cells import EvaluationConfig
from medtransfer.evaluation.compare import delong_interval, paired_t_test
from medtransfer.reporting.page import render_html, render_markdown
from medtransfer.studies.multitask_vit.config import HospitalsConfig
from medtransfer.studies.multitask_vit.paper.values import printed
from medtransfer.studies.multitask_vit.report.calibration import calibration_figure, calibration_table
from medtransfer.studies.multitask_vit.report.collect import answer
from medtransfer.studies.multitask_vit.report.diagnosis import classes_table
from medtransfer.studies.multitask_vit.report.differences import differences_table, trained_once
from medtransfer.studies.multitask_vit.report.failures import failures_figure, failures_table
from medtransfer.studies.multitask_vit.report.floors import floors_table
from medtransfer.studies.multitask_vit.report.groups import hospitals_table, source_auroc, source_table, views_table
from medtransfer.studies.multitask_vit.report.hospitals import rotation_table
from medtransfer.studies.multitask_vit.report.networks import networks_figure
from medtransfer.studies.multitask_vit.report.paper_tables import paper_tables
from medtransfer.studies.multitask_vit.report.results import results
from medtransfer.studies.multitask_vit.report.severity import masks_table, reader_scores, severity_table
from medtransfer.studies.multitask_vit.report.significance import significance_table, stars

from .conftest import CLASSES, COUNT, VARIANTS, manifest, predictions


def texts(table):
    return [[cell.main for cell in row] for row in table.rows]


def first(text):
    return float(text.split(" ")[0].replace("−", "-"))


def scores(found, variant, output, split, seed=None):
    table = found.table
    own = table[(table["variant"] == variant) & (table["output"] == output) & (table["split"] == split)]
    if seed is not None:
        return own[own["seed"] == seed]
    return own.groupby("image_id", sort=True)[["score", "target"]].mean()


def mse(table, variant, seed):
    own = table[(table["variant"] == variant) & (table["seed"] == seed) & (table["split"] == "test")]
    own = own[own["kind"] == "value"]
    return ((own["score"] - own["target"]) ** 2).mean()


def highest(rows):
    positive = np.sort(rows.loc[rows["target"] == 1, "score"])[::-1]
    return positive[int(np.ceil(0.8 * len(positive))) - 1]


def test_the_operating_point_is_of_validation_and_the_papers_stands_apart(found):
    measured = found()
    table = classes_table(measured)
    groups = [column.group for column in table.columns]
    rows = {tuple(row[:2]): row for row in texts(table)}
    assert [group.split(":")[0] for group in groups[7:]] == ["optimistic"] * 3
    for fixed, place in (("val", 4), ("test", 7)):
        expected = []
        for seed in (0, 1):
            limit = highest(scores(measured, "multitask", "covid", fixed, seed))
            test = scores(measured, "multitask", "covid", "test", seed)
            expected.append((test.loc[test["target"] == 1, "score"] >= limit).mean())
        assert first(rows["multitask", "covid"][place]) == pytest.approx(np.mean(expected), abs=5e-4)
    both = scores(measured, "classification", "covid", "test")
    one = delong_interval(both["target"], both["score"])
    cell = next(row[3] for row in table.rows if (row[0].main, row[1].main) == ("classification", "covid"))
    assert (cell.main, cell.detail) == (f"{one.value:.3f}", f"[{one.low:.3f}, {one.high:.3f}]")
    means = [np.mean([first(rows["multitask", name][place]) for name in CLASSES]) for place in (2, 4, 7)]
    assert [first(rows["multitask", "mean"][place]) for place in (2, 4, 7)] == pytest.approx(means, abs=1e-3)


def test_a_perfect_order_has_no_delong_interval(found):
    measured = found()
    rows = measured.table.copy()
    shown = (rows["kind"] == "probability") & (rows["variant"] == "multitask")
    rows.loc[shown, "score"] = 0.25 + 0.5 * rows.loc[shown, "target"]
    perfect = classes_table(results(rows, measured.config, measured.evaluation, {}))
    assert (perfect.rows[0][3].main, perfect.rows[0][3].detail) == ("1.000", "no interval: perfect order")


def test_the_temperature_of_validation_undoes_scores_that_are_too_sure(found):
    def table(power):
        measured = found()
        rows = measured.table.copy()
        shown = rows["kind"] == "probability"
        score = rows.loc[shown, "score"].clip(0.01, 0.99)
        rows.loc[shown, "score"] = score**power / (score**power + (1 - score) ** power)
        return texts(calibration_table(results(rows, measured.config, measured.evaluation, {})))

    for plain, sure in zip(table(1), table(4), strict=True):
        assert first(sure[2]) == pytest.approx(4 * first(plain[2]), abs=0.01)
        assert first(sure[4]) == pytest.approx(first(plain[4]), abs=0.002)
    assert {(row[0], row[1]) for row in table(1)} == {
        (variant, name) for variant in ("multitask", "classification", "no_transformer") for name in CLASSES
    }


def test_readers_stand_beside_the_networks_or_are_not_available(found):
    alone = texts(severity_table(found()))
    assert alone[-1] == ["second reader", *["not available"] * 4]
    both = manifest(readers=True)
    rows = {row[0]: row for row in texts(severity_table(found({"cxr": both})))}
    true = np.random.default_rng(2).integers(0, 7, COUNT)
    assert set(rows) == {"multitask", "severity", "no_transformer", "reader: junior"}
    assert first(rows["reader: junior"][1]) == pytest.approx((true < 6).mean(), abs=5e-4)
    both.loc[both["image_id"] == "cxr/test3", "v_junior_2"] = np.nan
    assert "cxr/test3" not in reader_scores(both)["junior"].index


def test_hospitals_are_apart_and_external_only_without_validation_images(found):
    rows = texts(hospitals_table(found(sources=("a", "b", "c"))))
    assert [row[0] for row in rows] == ["a", "b", "c (external)"]
    assert sum(int(row[1]) for row in rows) == COUNT
    (one,) = texts(hospitals_table(found(sources=("a",))))
    assert one == ["fewer than two usable hospitals", *["not available"] * 6]
    table = hospitals_table(found(sources=("a", "b", "")))
    assert table.notes == ("30 test images name no hospital and are in no row of one.",)


def test_a_hospital_has_the_thresholds_of_all_validation_images(found):
    measured = found()
    row = next(row for row in texts(hospitals_table(measured)) if row[0] == "b")
    expected = []
    for name in CLASSES:
        for seed in (0, 1):
            limit = highest(scores(measured, "multitask", name, "val", seed))
            test = scores(measured, "multitask", name, "test", seed)
            test = test[(test["source"] == "b") & (test["target"] == 1)]
            expected.append((test["score"] >= limit).mean())
    assert first(row[3]) == pytest.approx(np.mean(expected), abs=5e-4)


def test_views_are_apart_or_not_applicable(found):
    assert [row[0] for row in texts(views_table(found()))] == ["PA", "AP"]
    rows = texts(views_table(found(views=("",))))
    assert rows == [[name, *["not applicable"] * 6] for name in ("a", "b")]


def test_the_hospital_alone_is_scored_by_its_share_of_training_images(found):
    table = manifest()
    assert source_auroc(table, "covid") > 0.85
    assert source_auroc(table.assign(source="a"), "covid") is None
    shuffled = table.assign(
        label=np.resize(["covid", "covid", "normal", "normal"], len(table)), source=np.resize(["a", "b"], len(table))
    )
    assert source_auroc(shuffled, "covid") == 0.5
    assert {row[2] for row in texts(source_table(found()))} == {"not available"}


def test_tests_are_paired_by_patient_and_starred_where_the_main_network_is_better(found):
    measured = found()
    rows = {tuple(row[:2]): row for row in texts(significance_table(measured))}
    assert {name for name, _ in rows} == {"classification", "severity", "no_transformer"}
    assert rows["no_transformer", "AUROC of covid"][2].endswith(" **")
    errors = []
    for variant in ("multitask", "severity"):
        own = scores(measured, variant, "score", "test")
        patient = own.index.str.removeprefix("cxr/test").astype(int) // 2
        errors.append(((own["score"] - own["target"]) ** 2).groupby(np.asarray(patient)).mean())
    one = paired_t_test(*errors)
    assert first(rows["severity", "MSE of the score"][2]) == pytest.approx(one.difference, abs=5e-4)
    assert first(rows["severity", "MSE of the score"][3]) == pytest.approx(one.p, abs=5e-4)
    assert (stars(0.01, better=True), stars(0.0001, better=True), stars(0.0001, better=False)) == (" *", " **", "")


def test_differences_are_paired_by_seed_and_of_the_mean_over_the_classes(found):
    measured = found()
    rows = {row[0]: row for row in texts(differences_table(measured))}
    assert set(rows) == {"classification", "severity", "no_transformer"}
    assert (rows["severity"][1], rows["classification"][2]) == ("—", "—")
    gain = {"area": [], "error": []}
    for variant, sign in (("no_transformer", 2.0), ("multitask", -2.0)):
        for seed in (0, 1):
            for name in CLASSES:
                one = scores(measured, variant, name, "test", seed)
                gain["area"].append(sign * roc_auc_score(one["target"], one["score"]))
            one = scores(measured, variant, "score", "test", seed)
            gain["error"].append(sign * ((one["score"] - one["target"]) ** 2).mean())
    assert first(rows["no_transformer"][1]) == pytest.approx(np.mean(gain["area"]), abs=6e-4)
    assert first(rows["no_transformer"][2]) == pytest.approx(np.mean(gain["error"]), abs=6e-4)


def test_a_backbone_of_one_training_is_named_where_it_is_what_differs(make_config):
    own = {
        "corpus": {"network": "toy_pcam"},
        "other": {"network": "toy_pcam"},
        "ready": {"network": "toy", "findings": False, "start": {"kind": "file", "path": "weights/toy.safetensors"}},
    }
    variants = {
        "multitask": {},
        "no_masks": {"masks": "none"},
        "other": {"backbone": "other"},
        "ready": {"backbone": "ready"},
        "random": {"pretrained": False},
    }
    config = make_config(variants=variants, backbones=own)
    assert [trained_once(name, config) for name in variants] == [
        "",
        "",
        "backbone other and corpus trained once",
        "backbone corpus trained once",
        "backbone corpus trained once",
    ]


def test_tables_3_to_14_have_the_papers_cells_and_nothing_invented(found):
    tables = {table.key: texts(table) for table in paper_tables(found())}
    assert list(tables) == [f"table-{number}" for number in range(3, 15)]
    assert tables["table-3"][0][1:4] == ["0.949", "0.931", "0.907"]
    assert tables["table-6"][0][1:4] == ["1.441", "1.435", "1.458"]
    assert (
        tables["table-5"][1][1]
        == f"{printed()['classification_mtl_mean_of_3_labels', 'CNUH', 'sensitivity_pct'] / 100:.3f}"
    )
    assert [row[0] for row in tables["table-7"]] == ["proposed model"]
    assert paper_tables(found())[4].notes[-1].startswith("Not run with these parameters: ResNet-50, ")
    assert tables["table-9"][1] == ["COVID-Net", *["not available"] * 3, "not built"]
    assert "4.965 (4.558 to 5.372)" in paper_tables(found())[7].notes[-1]
    assert [row[0] for row in tables["table-11"]] == ["proposed model", "without Transformer"]
    assert first(tables["table-11"][1][4]) < first(tables["table-11"][0][4])
    assert paper_tables(found())[8].notes == (
        "Not run with these parameters: without PCAM, without positional embedding.",
    )


def test_failures_are_listed_with_the_surest_first(found, make_config):
    config = make_config(variants={"no_transformer": VARIANTS["no_transformer"]})
    measured = results(found().table, config, found().evaluation, {})
    table = measured.table[measured.table["split"] == "test"]
    table = table[table["kind"] == "probability"]
    score, target = (table.pivot_table(index="image_id", columns="output", values=name) for name in ("score", "target"))
    wrong = score.idxmax(axis=1) != target.idxmax(axis=1)
    shown = failures_table(measured)
    assert f"wrong in {wrong.sum()} of {COUNT} test images" in shown.intro
    surest = score.max(axis=1)[wrong].idxmax()
    assert texts(shown)[0][:3] == [surest, target.loc[surest].idxmax(), score.loc[surest].idxmax()]
    assert len(shown.rows) == min(20, wrong.sum()) > 0
    rows = manifest()
    packed = SimpleNamespace(manifest=rows, images=np.zeros((len(rows), 1, 8, 8), np.uint8))
    (figure,) = failures_figure(shown, packed, phantoms=True)
    assert figure.svg.startswith("<img")
    assert failures_figure(shown, packed, phantoms=False) == ()


def test_the_answer_comes_first_and_the_page_holds_every_part(report):
    (sentence,) = report.headline
    assert sentence.startswith("On test images of sources that it was trained on, multitask tells 3 classes apart with")
    assert "against classification alone" in sentence
    gain = float(sentence.split(" against severity alone")[0].split("(")[-1].split(" ")[0].replace("−", "-"))
    own, alone = (
        np.mean([mse(predictions(), variant, seed) for seed in (0, 1)]) for variant in ("multitask", "severity")
    )
    assert gain == pytest.approx(own - alone, abs=5e-4)
    assert not any("mathdefault" in figure.svg for figure in report.figures)
    assert [figure.key for figure in report.figures] == ["networks", "reliability", "over-prevalence"]
    prevalence = next(table for table in report.results if table.key == "prevalence")
    assert {row[0].main for row in prevalence.rows} == {"seed 0", "seed 1"}
    assert len({table.key for table in report.results}) == len(report.results)
    assert "not built" in render_html(report)
    assert "| COVID-Net |" in render_markdown(report)


def test_a_study_of_severity_alone_has_a_report(found, make_config):
    config = make_config(variants={"severity": VARIANTS["severity"]})
    measured = results(found().table, config, found().evaluation, {})
    assert answer(measured).startswith(
        "On test images of sources that it was trained on, severity scores severity from 0 to 6 with an MSE of"
    )
    assert texts(classes_table(measured)) == texts(significance_table(measured)) == texts(source_table(measured)) == []
    assert calibration_figure(measured) is None
    assert texts(paper_tables(measured)[0]) == []
    ((name, *_, ours),) = texts(paper_tables(measured)[1])
    assert name == "single-task"
    assert first(ours) > 0


ROTATION = {"held_out": {"a": "a", "b": "b"}, "variants": ["multitask"], "least_images": 45}


def rotated(config, sources=("a", "b"), **rotation):
    """Scores of a network without each hospital, one above the others on the second."""
    table = predictions()
    graded = (table["variant"] == "multitask") & (table["split"] == "test") & (table["kind"] == "value")
    parts = [table]
    for name in sources:
        mine = table[graded & (table["source"] == name)]
        parts.append(mine.assign(condition=f"without_{name}", score=mine["score"] + (name == "b")))
    changed = config.model_copy(update={"hospitals": config.hospitals.model_validate(ROTATION | rotation)})
    return results(
        pd.concat(parts, ignore_index=True),
        changed,
        EvaluationConfig(draws=40),
        {"cxr": manifest(), "chest": manifest()},
    )


def test_hospitals_held_out_have_a_row_each_and_enter_no_other_number(config, found):
    measured = rotated(config)
    table = rotation_table(measured)
    expected = []
    for name in ("a", "b"):
        own = measured.rotated[measured.rotated["condition"] == f"without_{name}"]
        expected.append(((own["score"] - own["target"]) ** 2).mean())
    assert [(row[0], row[1], row[2]) for row in texts(table)] == [("multitask", "a", "46"), ("multitask", "b", "44")]
    assert [first(row[3]) for row in texts(table)] == pytest.approx(expected, abs=5e-4)
    assert texts(severity_table(measured)) == texts(severity_table(found({"cxr": manifest()})))
    assert "table of their own" in answer(measured)
    assert "no hospital was held out" in answer(found())


def test_fewer_than_two_usable_hospitals_are_not_available(config):
    table = rotation_table(rotated(config, least_images=91))
    assert [row[0] for row in texts(table)] == ["fewer than two usable hospitals"]
    assert texts(rotation_table(rotated(config, sources=(), held_out={}, variants=[]))) == []
    assert {cell for row in texts(table) for cell in row[2:]} == {"not available"}
    assert table.notes == ("1 hospitals with 88 scored images have fewer than 91 each.",)


def test_images_that_name_no_hospital_are_counted_and_held_out_with_none(config):
    measured = rotated(config)
    rows = manifest()
    rows["source"] = rows["source"].map({"a": "c/rome", "b": "c"})
    measured.manifests["chest"] = rows
    notes = " ".join(rotation_table(measured).notes)
    assert "88 scored images name no hospital and are held out with none." in notes
    assert "Not held out by these parameters: c/rome." in notes


def test_a_collection_is_a_row_and_small_hospitals_are_counted(found):
    measured = found(sources=("c/rome", "c", "d"))
    names = [row[0] for row in texts(hospitals_table(measured))]
    assert names == ["c, all", "c/rome", "d (external)"]
    assert hospitals_table(measured).notes == ("30 test images name no hospital and are in no row of one.",)
    few = replace(measured, config=measured.config.model_copy(update={"hospitals": HospitalsConfig(least_images=31)}))
    assert [row[0] for row in texts(hospitals_table(few))] == ["c, all"]
    assert "2 hospitals with 60 test images are too small for a row." in hospitals_table(few).notes


def test_an_unseen_hospital_is_told_by_its_collection():
    sources = {"c/rome": "covid", "c/milan": "covid", "nih": "normal"}
    rows = pd.DataFrame(
        [{"source": s, "label": name, "split": "train"} for s, name in sources.items()]
        + [{"source": s, "label": name, "split": "test"} for s, name in (("c/paris", "covid"), ("nih", "normal"))]
    )
    assert source_auroc(rows, "covid") == source_auroc(rows, "covid", of=collection_of) == 1


def test_floors_are_beside_the_main_network_and_in_no_other_table(config, found):
    table = predictions()
    mine = table[(table["variant"] == "multitask") & (table["seed"] == 0)].assign(condition="floor")
    parts = [
        mine[mine["kind"] == "value"].assign(variant="constant", score=3.0),
        mine.assign(variant="thumbnails", score=mine["score"] / 2),
    ]
    whole = pd.concat([table, *parts], ignore_index=True)
    measured = results(whole, config, EvaluationConfig(draws=40), {})
    rows = {row[0]: row for row in texts(floors_table(measured))}
    test = parts[0][parts[0]["split"] == "test"]
    assert first(rows["mean of the training scores"][2]) == pytest.approx(((3 - test["target"]) ** 2).mean(), abs=5e-4)
    assert list(rows) == ["multitask", "mean of the training scores", "linear model of 32 × 32 pixels"]
    assert texts(severity_table(measured)) == texts(severity_table(found()))


def test_the_first_figure_has_every_network_and_floor(found, report):
    assert report.lead.key == "networks"
    shown = report.lead.svg
    assert sorted(VARIANTS, key=shown.index) == [*VARIANTS]
    assert shown.count("Diagnosis: mean AUROC") == 1
    only = results(found().table[found().table["kind"] == "value"], found().config, found().evaluation, {})
    assert "Diagnosis" not in networks_figure(only).svg


def test_images_with_a_lung_mask_are_measured_apart(found):
    measured = found({"cxr": manifest()})
    rows = texts(masks_table(measured, {}))
    masked = manifest().loc[lambda rows: (rows["mask_row"] >= 0) & (rows["split"] == "test")]
    counts = {(row[0], row[1]): int(row[2]) for row in rows}
    assert counts["multitask", "with a mask"] == len(masked)
    assert counts["multitask", "without one"] == COUNT - len(masked)
    own = measured.table[
        (measured.table["variant"] == "severity") & measured.table["image_id"].isin(masked["image_id"])
    ]
    own = own[own["split"] == "test"]
    expected = ((own["score"] - own["target"]) ** 2).mean()
    assert first(next(row for row in rows if row[:2] == ["severity", "with a mask"])[3]) == pytest.approx(
        expected, abs=5e-4
    )


def test_maps_of_drawn_images_are_in_the_page_with_their_scores(explained_report):
    report = explained_report(phantoms=True)
    figures = {figure.key: figure for figure in report.figures}
    tables = {table.key: table for table in report.results}
    assert figures["maps"].svg.startswith("<img")
    scored = texts(tables["map-scores"])
    assert scored == [
        ["relevance", "lesion", "9", "0.70", "0.30", "0.40"],
        ["severity map", "lungs", "9", "0.70", "0.30", "0.40"],
    ]
    assert tables["map-scores"].rows[0][3].detail == "chance 0.10"


def test_images_of_patients_stay_out_of_the_page(explained_report):
    report = explained_report(phantoms=False)
    assert not {"maps", "failures"} & {figure.key for figure in report.figures}
    assert "map-scores" in {table.key for table in report.results}


def test_the_origin_of_lung_masks_is_counted_and_whole_images_are_a_warning(explained_report):
    (table,) = (one for one in explained_report(phantoms=True).results if one.key == "masks")
    assert "train 5 from files, 2 from the segmenter, 0 of the whole image" in table.notes[0]
    assert table.notes[1].startswith("Warning: of 4 graded images the whole counts as lung")
