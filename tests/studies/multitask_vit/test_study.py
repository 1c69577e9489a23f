"""Every variant trains two steps on drawn X-rays, is stored, rebuilt, and predicts what its tasks say."""

from pathlib import Path

import pandas as pd
import pytest
import torch
from pydantic import ValidationError

from medtransfer.errors import DataError
from medtransfer.evaluation.cells import EvaluationConfig
from medtransfer.evaluation.predictions import validate_predictions
from medtransfer.models.classifier import build_network
from medtransfer.models.weights import load_model
from medtransfer.params import parse_params
from medtransfer.profiles import with_profile
from medtransfer.reporting.input import ReportInput
from medtransfer.reporting.origin import Origin
from medtransfer.studies.multitask_vit import predictions, study
from medtransfer.studies.multitask_vit.config import MultitaskVitConfig
from medtransfer.studies.multitask_vit.explanations import explanations
from medtransfer.studies.multitask_vit.reading import Reading
from medtransfer.studies.multitask_vit.report.collect import collect
from medtransfer.training.loading import open_dataset
from medtransfer.training.multitask import MultitaskTask, multitask_validation

ROOT = Path(__file__).parents[3]

TASKS = {"classification": ("label",), "severity": ("zones",)}


@pytest.mark.slow
def test_every_variant_is_trained_stored_and_predicts_its_tasks(workspace, make_config, fit, engine, gate):
    config = make_config()
    fit(config, "corpus")
    fit(config, "finetune")
    corpus, _ = load_model(study.backbone("corpus").weights)
    table = validate_predictions(pd.concat(list(predictions.predictions(config, engine)), ignore_index=True))
    assert set(table["variant"]) == {*config.variants, "constant", "thumbnails"}
    for variant in config.variants:
        tasks = TASKS.get(variant, ("label", "zones"))
        network, description = load_model(study.fitted(variant, 0).weights)
        assert tuple(description["heads"]) == tasks
        rows = table[table["variant"] == variant]
        kinds = {"label": {"probability"}, "zones": {"severity", "value"}}
        assert set(rows["kind"]) == set.union(*(kinds[task] for task in tasks))
        assert set(rows["split"]) == {"val", "test"}
        spec, tracker = workspace[f"finetune · {variant} · seed 0"]
        assert spec.tags["tasks"] == ", ".join(tasks)
        assert bool(spec.parents) == (variant != "no_pretraining")
        history = {name for name, _, _ in tracker.points}
        assert {"val/macro_auroc" if "label" in tasks else "val/mse_score", "train/loss"} <= history
        if "zones" in tasks:
            assert {"val/mse_score", "train/lr_severity", "data/without_lungs"} <= history
        assert network.reads_lungs == ("zones" in tasks)
    _check_scores(table)
    _check_explanations(config, engine)
    _check_report(config, table, gate)
    assert corpus.head.out_features == 5


def _check_report(config, table, gate):
    """The packed X-rays name no view or second reader, and the test images of both hospitals are few."""
    origin, settings = Origin({}, gate=gate), EvaluationConfig(draws=20)
    content = collect(
        ReportInput(
            folder=Path("nothing"),
            predictions=table,
            origin=origin,
            champions=[],
            config=config,
            evaluation=settings,
            profile="toy",
        )
    )
    tables = {one.key: [[cell.main for cell in row] for row in one.rows] for one in content.results}
    assert content.headline[0].startswith("On test images of sources that it was trained on, multitask tells 3 classes")
    assert [row[0] for row in tables["hospitals"]] == ["fewer than two usable hospitals"]
    assert {row[1] for row in tables["views"]} == {"not applicable"}
    assert tables["severity"][-1][0] == "second reader"
    ours = [row[-1] for number in (3, 4, 11, 12, 13, 14) for row in tables[f"table-{number}"]]
    assert "not run" not in ours


def _check_explanations(config, engine):
    """Maps of the main network, scored on the test images that have a mask."""
    panels, facts = explanations(config, engine)
    table = open_dataset("chest").manifest
    assert facts["images_with_masks"] == ((table["split"] == "test") & (table["mask_row"] >= 0)).sum()
    assert (facts["variant"], facts["output"]) == ("multitask", "covid")
    scores = {(row["map"], row["region"]): row for row in facts["scores"]}
    assert set(scores) == {(name, of) for name in ("relevance", "severity map") for of in ("lesion", "lungs")}
    assert scores["severity map", "lungs"]["energy"] == pytest.approx(1)
    assert 0 < scores["relevance", "lungs"]["energy"] < 1
    assert all(0 <= row["overlap"] <= 1 and 0 <= row["pointing"] <= 1 for row in scores.values())
    assert [axis.get_ylabel() for axis in panels["maps"].axes if axis.get_ylabel()][:2] == [
        "X-ray",
        "relevance\nof covid",
    ]


def _check_scores(table):
    zones = table[(table["variant"] == "multitask") & (table["kind"] == "severity")]
    counted = zones.assign(affected=zones["score"] >= 0.5).groupby("image_id")["affected"].sum()
    scores = table[(table["variant"] == "multitask") & (table["kind"] == "value")].set_index("image_id")["score"]
    assert scores.to_dict() == counted.astype(float).to_dict()


def test_a_pretrained_variant_starts_from_the_corpus_backbone(workspace, make_config, fit):
    still = {"steps": 1, "batch_size": 6, "optimizer": {"name": "sgd", "lr": 1e-12}, "frozen_norm": True}
    finetune = make_config().finetune.model_dump() | {"severity_lr": 1e-12}
    finetune["train"] = still | {"selection": {"metric": "val/macro_auroc"}}
    names = ("multitask", "no_pretraining")
    variants = {name: make_config().variants[name].model_dump() for name in names}
    config = make_config(finetune=finetune, variants=variants)
    fit(config, "corpus", "corpus")
    fit(config, "finetune")
    corpus, _ = load_model(study.backbone("corpus").weights)
    trunks = {name: load_model(study.fitted(name, 0).weights)[0].trunk.state_dict() for name in names}
    for key, value in corpus.trunk.state_dict().items():
        if value.ndim > 1:
            torch.testing.assert_close(trunks["multitask"][key], value)
    weights = [key for key, value in corpus.trunk.state_dict().items() if value.ndim > 1]
    assert not any(torch.equal(trunks["no_pretraining"][key], corpus.trunk.state_dict()[key]) for key in weights)


def test_only_images_with_zones_teach_the_severity(workspace, make_config, fit):
    config = make_config(variants={"severity": {"tasks": ["zones"], "pretrained": False}})
    fit(config, "finetune")
    _, tracker = workspace["finetune · severity · seed 0"]
    table = open_dataset("chest").manifest
    train = table[(table["split"] == "train") & table["zone_0"].notna()]
    counted = [value for name, _, value in tracker.points if name == "data/without_lungs"]
    assert counted == [(train["mask_row"] < 0).sum()]
    assert counted[0] > 0


ROTATED = {"held_out": {"one": "hospital1"}, "variants": ["severity"]}


def test_a_hospital_that_is_held_out_is_read_in_no_split_and_graded_as_a_whole(workspace, make_config, fit, engine):
    variants = {"severity": {"tasks": ["zones"], "pretrained": False}, "multitask": {"pretrained": False}}
    config = make_config(variants=variants, hospitals=ROTATED, floors={"thumbnail": 4})
    assert study.conditions(config, "finetune", "severity") == ("pooled", "without_one")
    assert study.conditions(config, "finetune", "multitask") == ("pooled",)
    table = open_dataset("chest").manifest
    theirs = set(table.loc[(table["source"] == "hospital1") & table["zone_0"].notna(), "image_id"])
    reading = Reading.open(config, "severity", "without_one", engine)
    for loader in (*reading.training(0).values(), *reading.evaluation("val").values()):
        assert not set(table["image_id"].iloc[loader.rows]) & theirs
    fit(config, "finetune")
    rows = pd.concat(list(predictions.predictions(config, engine)), ignore_index=True)
    held_out = rows[rows["condition"] == "without_one"]
    assert set(held_out["image_id"]) == theirs
    assert set(held_out["split"]) == {"test"}
    floors = rows[rows["condition"] == "floor"]
    assert set(zip(floors["variant"], floors["kind"], strict=True)) == {
        ("constant", "value"),
        ("thumbnails", "value"),
        ("thumbnails", "probability"),
    }
    train = table[(table["split"] == "train") & table["zone_0"].notna()]
    score = (train[[f"zone_{place}" for place in range(6)]] > 0).sum(axis=1)
    assert set(floors.loc[floors["variant"] == "constant", "score"]) == {score.mean()}


def test_a_hospital_whose_findings_the_backbone_has_learnt_cannot_be_held_out(workspace, make_config, fit):
    config = make_config(hospitals=ROTATED)
    with pytest.raises(DataError, match="hospital 'hospital1' cannot be held out of 'severity': its backbone 'corpus'"):
        fit(config, "finetune", "severity")


def test_a_backbone_learns_findings_from_ready_made_weights_on(workspace, make_config, fit, tmp_path):
    made = make_config()
    still = {"steps": 1, "batch_size": 4, "optimizer": {"name": "sgd", "lr": 1e-12}, "frozen_norm": True}
    corpus = made.corpus.model_dump() | {"train": still | {"selection": {"metric": "val/macro_auroc"}}}
    fit(make_config(backbones={"first": {"network": "test_resnet_pcam"}}, variants=ALONE, corpus=corpus), "corpus")
    start = {"kind": "file", "path": str(study.backbone("first").weights)}
    backbones = {
        "corpus": {"network": "test_resnet_pcam", "start": start},
        "ready": {"network": "test_resnet_pcam", "start": start, "findings": False},
    }
    config = make_config(
        backbones=backbones, variants={"multitask": {}, "no_findings": {"backbone": "ready"}}, corpus=corpus
    )
    fit(config, "corpus")
    first = load_model(study.backbone("first").weights)[0].trunk.state_dict()
    for name in backbones:
        assert (study.pretrained(config, name).condition == "ready") == (name == "ready")
        again = load_model(study.pretrained(config, name).weights)[0].trunk.state_dict()
        for key, value in first.items():
            if value.ndim > 1:
                torch.testing.assert_close(again[key], value)
    assert config.lacks("no_findings") == {"pretrained"}
    assert config.lacks("multitask") == frozenset()


ALONE = {"multitask": {"backbone": "first"}}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"backbones": {}}, "variant 'multitask': there is no backbone 'corpus'; add it to backbones"),
        ({"variants": {}}, "at least 1 item"),
        ({"floors": {"frozen": "corpus"}}, "floors.frozen: 'corpus' is no backbone with ready-made weights"),
        ({"hospitals": {"variants": ["classification"]}}, "'classification' is no variant with the task zones"),
        (
            {"backbones": {"corpus": {"network": "resnet18", "findings": False}}},
            "resnet18: random weights without findings know nothing; set pretrained: false",
        ),
    ],
)
def test_variants_that_cannot_start_are_refused(make_config, changes, message):
    with pytest.raises(ValidationError, match=message):
        make_config(**changes)


def test_images_of_a_step_add_up(make_config):
    finetune = make_config().finetune.model_dump()
    finetune["train"]["batch_size"] = 20
    with pytest.raises(ValidationError, match=r"train\.batch_size is 20, label and zones together have 6; make it 6"):
        make_config(finetune=finetune)


def test_the_defaults_are_the_papers_sizes(make_config):
    paper = MultitaskVitConfig.model_validate(
        make_config().model_dump(exclude={"transformer", "upsizing", "cuts"})
        | {"variants": {"multitask": {}}, "backbones": {"corpus": {"network": "densenet121_pcam"}}}
    )
    network = paper.network("multitask")
    assert (network.transformer.width, network.transformer.layers, network.transformer.heads) == (768, 12, 12)
    assert network.upsizing == (256, 128, 64, 32)
    assert network.cuts == ((5, 12), (2, 3))
    assert paper.finetune.severity_weight == 5


COMPARED = {
    "resnet50": "resnet50",
    "resnet152": "resnet152",
    "densenet121": "densenet121",
    "efficientnet_b7": "tf_efficientnet_b7",
    "nasnet": "nasnetalarge",
    "senet154": "legacy_senet154",
    "vit_b16": "vit_base_patch16_224",
    "r50_vit_b16": "vit_base_r50_s16_224",
}


@pytest.mark.slow
@pytest.mark.parametrize("name", COMPARED)
def test_every_network_for_comparison_trains_two_steps_and_is_evaluated(workspace, make_config, engine, name):
    variant = {"backbone": "corpus", "transformer": False, "pretrained": False}
    config = make_config(variants={name: variant}, backbones={"corpus": {"network": COMPARED[name]}})
    reading, classes = Reading.open(config, name, "pooled", engine), open_dataset("chest").meta.classes
    task = MultitaskTask(build_network(config.network(name), len(classes) + 6, seed=0), classes)
    optimizer = torch.optim.SGD(task.module.parameters(), lr=1e-3)
    before = task.head.severity[-1][1].weight.detach().clone()
    for step in range(2):
        batch = {part: loader.batch(0, step) for part, loader in reading.training(0).items()}
        optimizer.zero_grad()
        task.losses(batch)["total"].backward()
        optimizer.step()
    assert not torch.equal(before, task.head.severity[-1][1].weight)
    metrics = multitask_validation(reading.evaluation("val"), classes, engine)(task)
    assert 0 <= metrics["val/mse_score"] <= 36
    paper = parse_params(with_profile(ROOT, "paper-multitask")).multitask_vit
    assert paper.backbones[name].network == COMPARED[name]
    assert not paper.variants[name].transformer
