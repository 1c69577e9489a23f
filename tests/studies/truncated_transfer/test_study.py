"""The wiring on a toy set: starts, regimes, trials, several findings, and what is left behind."""

import csv
from pathlib import Path

import pytest
import torch

from medtransfer.data.regimes import under_regime
from medtransfer.errors import CheckpointError, ConfigError, DataError, ModelError
from medtransfer.models.classifier import build_network
from medtransfer.models.heads import Head
from medtransfer.models.networks import network_config
from medtransfer.models.weights import load_model, save_weights
from medtransfer.studies.truncated_transfer import study
from medtransfer.studies.truncated_transfer.config import Condition
from medtransfer.training.run import run_stage
from medtransfer.training.selection import SelectionConfig
from network_heads import class_heads


def fit(config, variant, setting):
    jobs, then = study.jobs(config, variant, setting)
    run_stage(f"fit-{variant}", jobs, out=study.finetuned_folder(variant), engine=setting.engine, then=then)


def pretrain(config, setting):
    jobs = study.pretrain_jobs(config, "test_resnet", setting)
    run_stage("pretrain", jobs, out=study.pretrained_folder("test_resnet"), engine=setting.engine)


def test_an_variant_leaves_every_condition_and_its_trials_as_variants(workspace, make_config, setting):
    config = make_config(regimes={"half": {"share": 0.5}})
    fit(config, "test_resnet-random", setting)
    folder = study.finetuned_folder("test_resnet-random")
    fitted = {path.parent.relative_to(folder).as_posix() for path in folder.rglob("model.safetensors")}
    assert fitted == {
        f"ill-half-{rest}"
        for rest in (
            *(f"{protocol}/weights/seed{seed}" for protocol in ("paper", "tuned") for seed in (0, 1)),
            *(f"tuned-trial{rate}/weights/seed0" for rate in ("0.0001", "0.001")),
        )
    }
    model, description = load_model(study.fitted_folder("test_resnet-random", Condition("ill", "half", "tuned"), 1))
    assert description["heads"] == class_heads(("healthy", "ill"))
    assert model.head.out_features == 2


def test_the_rate_that_won_its_trials_trains_the_tuned_fits_and_is_recorded(workspace, make_config, setting):
    config = make_config(protocols=["tuned"], regimes={"all": {}})
    fit(config, "test_resnet-random", setting)
    records = study.finetuned_folder("test_resnet-random")
    scores = {}
    for rate in ("0.0001", "0.001"):
        history = records / f"ill-all-tuned-trial{rate}" / "records" / "seed0" / "history.csv"
        scores[rate] = max(float(row["val/auprc"]) for row in csv.DictReader(history.open()))
    best = max(scores, key=scores.__getitem__)
    spec, _ = workspace["finetune · test_resnet · random · ill · all · tuned · seed 1"]
    assert spec.tags["learning_rate"] == best
    assert spec.tags["strategy"] == "random"
    assert spec.tags["regime"] == "all"
    assert spec.params["phase"]["train"]["optimizer"]["lr"] == float(best)
    assert {part.split(": ")[0] for part in spec.tags["trials"].split(", ")} == set(scores)
    assert f"{best}: {scores[best]}" in spec.tags["trials"]
    assert workspace["trial · test_resnet · random · ill · all · tuned · lr 0.001 · seed 0"]


def test_transfer_starts_from_the_pretrained_layers_and_random_does_not(workspace, make_config, setting):
    config = make_config()
    pretrain(config, setting)
    whole = load_model(study.pretrained_folder("test_resnet") / "weights" / "seed0")[0].state_dict()
    started = {
        variant: study.jobs(config, variant, setting)[0][0].task().module.state_dict() for variant in config.variants
    }
    cut = {
        name: value for name, value in started["test_resnet_to_layer2-transfer"].items() if name.startswith("trunk.")
    }
    assert not any("layer3" in name for name in cut)
    assert all(torch.equal(value, whole[name]) for name, value in cut.items())
    first = next(name for name in cut if name.endswith("weight"))
    assert not torch.equal(started["test_resnet-random"][first], whole[first])


def test_ready_made_weights_are_a_start_too(workspace, make_config, setting):
    pretrain(make_config(), setting)
    source = study.pretrained_folder("test_resnet") / "weights" / "seed0"
    expected = load_model(source)[0].state_dict()
    source.parent.rename("elsewhere")
    config = make_config(start={"test_resnet": {"kind": "file", "path": "elsewhere/seed0"}})
    with pytest.raises(CheckpointError, match="no weights here; run the stage that makes them first"):
        study.jobs(config, "test_resnet-transfer", setting)
    study.write_ready_made(config, "test_resnet")
    loaded = load_model(source)[0].state_dict()
    assert all(torch.equal(value, loaded[name]) for name, value in expected.items() if name.startswith("trunk."))


def test_weights_of_another_network_are_refused(workspace, make_config):
    other = network_config("test_resnet_to_layer2")
    save_weights(
        build_network(other, 2, seed=0), Path("other"), config=other, heads=class_heads("ab"), preprocessing={}
    )
    config = make_config(start={"test_resnet": {"kind": "file", "path": "other"}})
    with pytest.raises(ModelError, match="the weights are of another network"):
        study.write_ready_made(config, "test_resnet")


def test_a_regime_reaches_the_training_rows_alone(workspace, make_config, setting):
    config = make_config(protocols=["paper"])
    jobs, _ = study.jobs(config, "test_resnet-random", setting)
    rows = {job.spec.tags["regime"]: set(job.loaders.rows) for job in jobs if job.seed == 0}
    assert len(rows["half"]) == len(rows["all"]) // 2
    assert rows["half"] < rows["all"]
    other = next(job for job in jobs if job.seed == 1 and job.spec.tags["regime"] == "half")
    assert set(other.loaders.rows) != rows["half"]


def test_a_thinned_regime_tests_every_seed_on_all_test_images(workspace, make_config):
    config = make_config(regimes={"rare": {"negatives": {"train": 3, "test": 4}}})
    data = study.open_dataset("toy")
    found = [
        under_regime(data, config.regimes["rare"], positive="ill", seed=seed).rows("test").tolist() for seed in (0, 1)
    ]
    assert found[0] == found[1]
    assert len(found[0]) == 8 + 8


def test_several_findings_are_one_fit_with_an_output_each(workspace, make_config, setting):
    config = make_config(tasks={"both": {"dataset": "toy", "findings": ["other", "bright"]}}, protocols=["paper"])
    fit(config, "test_resnet-random", setting)
    _, description = load_model(study.fitted_folder("test_resnet-random", Condition("both", "half", "paper"), 0))
    expected = Head(outputs=("other", "bright"), activation="sigmoid", kind="probability")
    assert description["heads"] == {"findings": expected}
    metrics = description["extra"]["metrics"]
    assert metrics["val/auprc"] == metrics["val/macro_auprc"]
    assert metrics["val/auprc"] == pytest.approx((metrics["val/auprc_other"] + metrics["val/auprc_bright"]) / 2)


def test_a_label_column_with_only_blanks_is_refused(workspace, make_config, setting):
    config = make_config(tasks={"none": {"dataset": "toy", "findings": ["blank"]}}, regimes={"all": {}})
    with pytest.raises(DataError, match="blank: a label column with only blanks, expected known values"):
        study.jobs(config, "test_resnet-random", setting)


def test_a_class_with_too_few_cases_for_the_regime_is_refused(workspace, make_config, setting):
    config = make_config(regimes={"all": {}, "few": {"share": 0.01}})
    with pytest.raises(DataError, match="class healthy has 24 training images, and 1% of them is none, expected at"):
        study.jobs(config, "test_resnet-random", setting)


def test_every_variant_is_checked_at_once_before_anything_trains(make_config):
    study.require_variants(make_config())
    wrong = make_config(variants=["test_resnet-random", "test_resnet_to_layer9-transfer"])
    with pytest.raises(ModelError, match="cut 'layer9' does not exist; this network can be cut after conv1, layer1"):
        study.require_variants(wrong)


def test_an_variant_that_is_not_configured_is_refused(workspace, make_config, setting):
    with pytest.raises(
        ConfigError, match=r"variant 'vgg-random' is not in truncated_transfer\.variants: test_resnet-random"
    ):
        study.jobs(make_config(), "vgg-random", setting)


@pytest.mark.parametrize(
    ("weighted", "expected"), [(False, None), (True, [1.0, 1.0])], ids=["without weights", "balanced"]
)
def test_class_weights_come_from_the_training_rows(workspace, make_config, setting, weighted, expected):
    jobs, _ = study.jobs(make_config(class_weights=weighted), "test_resnet-random", setting)
    weight = jobs[0].task().class_weight
    assert expected is None if weight is None else weight.tolist() == expected


def test_the_best_trial_is_the_first_among_equals_and_never_an_undefined_one():
    selection = SelectionConfig(metric="val/auprc")
    outcomes = [{"val/auprc": value} for value in (None, 0.5, 0.7, 0.7)]
    assert study.best_trial(outcomes, selection) == 2
    assert study.best_trial(outcomes[:2], selection) == 1
