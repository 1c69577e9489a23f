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
from medtransfer.studies.truncated_transfer.finetuning import best_trial
from medtransfer.studies.truncated_transfer.pretraining import require_variants
from medtransfer.training.loading import open_dataset
from medtransfer.training.selection import SelectionConfig
from network_heads import class_heads

RANDOM = "test_resnet-random"


def test_a_variant_leaves_every_condition_with_its_trials_beside_them(workspace, make_config, fit):
    fit(make_config(regimes={"half": {"share": 0.5}}), "finetune", RANDOM)
    folder = study.fitted(RANDOM, "ill-half-paper", 0).weights.parent.parent
    fitted = {path.parent.relative_to(folder).as_posix() for path in folder.rglob("model.safetensors")}
    assert fitted == {
        f"ill-half-{rest}"
        for rest in (
            *(f"{protocol}/seed{seed}" for protocol in ("paper", "tuned") for seed in (0, 1)),
            *(f"tuned-trial{rate}/seed0" for rate in ("0.0001", "0.001")),
        )
    }
    model, description = load_model(study.fitted(RANDOM, "ill-half-tuned", 1).weights)
    assert description["heads"] == class_heads(("healthy", "ill"))
    assert model.head.out_features == 2


def test_one_condition_and_its_trials_are_fitted_alone_and_kept_when_others_follow(workspace, make_config, fit, capsys):
    config = make_config(seeds=[0])
    fit(config, "finetune", RANDOM, "ill-half-tuned")
    assert {spec.tags["condition"] for spec, _ in workspace.values()} == {
        f"ill-half-tuned{trial}" for trial in ("", "-trial0.0001", "-trial0.001")
    }
    fit(config.model_copy(update={"seeds": (0, 1)}), "finetune", RANDOM, "ill-half-tuned", "ill-all-paper")
    assert capsys.readouterr().err.count("already trained, kept") == 3
    assert study.fitted(RANDOM, "ill-all-paper", 1).weights.exists()
    assert not study.fitted(RANDOM, "ill-half-paper", 0).weights.exists()


def test_all_fits_every_variant(workspace, make_config, fit):
    config = make_config(protocols=["paper"], regimes={"all": {}}, seeds=[0])
    fit(config, "pretrain", "all")
    fit(config, "finetune", "all")
    assert all(study.fitted(variant, "ill-all-paper", 0).weights.exists() for variant in config.variants)


def test_the_rate_that_won_its_trials_trains_the_tuned_fits_and_is_recorded(workspace, make_config, fit):
    fit(make_config(protocols=["tuned"], regimes={"all": {}}), "finetune", RANDOM)
    scores = {}
    for rate in ("0.0001", "0.001"):
        history = study.fitted(RANDOM, f"ill-all-tuned-trial{rate}", 0).records / "history.csv"
        scores[rate] = max(float(row["val/auprc"]) for row in csv.DictReader(history.open()))
    best = max(scores, key=scores.__getitem__)
    spec, _ = workspace["finetune · test_resnet · random · ill · all · tuned · seed 1"]
    assert spec.tags["learning_rate"] == best
    assert spec.tags["strategy"] == "random"
    assert spec.tags["regime"] == "all"
    assert spec.params["settings"]["train"]["optimizer"]["lr"] == float(best)
    assert {part.split(": ")[0] for part in spec.tags["trials"].split(", ")} == set(scores)
    assert f"{best}: {scores[best]}" in spec.tags["trials"]
    assert workspace["trial · test_resnet · random · ill · all · tuned · lr 0.001 · seed 0"]


def test_transfer_starts_from_the_pretrained_layers_and_random_does_not(workspace, make_config, fit):
    config = make_config()
    fit(config, "pretrain", "test_resnet")
    whole = load_model(study.source("test_resnet").weights)[0].state_dict()
    planned = zip(config.variants, fit.plans(config, "finetune", "all"), strict=True)
    started = {variant: plan.fits[0].task().module.state_dict() for variant, plan in planned}
    cut = {
        name: value for name, value in started["test_resnet_to_layer2-transfer"].items() if name.startswith("trunk.")
    }
    assert not any("layer3" in name for name in cut)
    assert all(torch.equal(value, whole[name]) for name, value in cut.items())
    first = next(name for name in cut if name.endswith("weight"))
    assert not torch.equal(started[RANDOM][first], whole[first])


def test_ready_made_weights_are_a_start_too(workspace, make_config, fit):
    fit(make_config(), "pretrain", "test_resnet")
    source = study.source("test_resnet").weights
    expected = load_model(source)[0].state_dict()
    source.parent.rename("elsewhere")
    config = make_config(start={"test_resnet": {"kind": "file", "path": "elsewhere/seed0"}})
    with pytest.raises(CheckpointError, match="no weights here; run the stage that makes them first"):
        fit.plans(config, "finetune", "test_resnet-transfer")
    fit(config, "pretrain", "test_resnet")
    loaded = load_model(source)[0].state_dict()
    assert all(torch.equal(value, loaded[name]) for name, value in expected.items() if name.startswith("trunk."))


def test_weights_of_another_network_are_refused(workspace, make_config, fit):
    other = network_config("test_resnet_to_layer2")
    save_weights(
        build_network(other, 2, seed=0), Path("other"), config=other, heads=class_heads("ab"), preprocessing={}
    )
    config = make_config(start={"test_resnet": {"kind": "file", "path": "other"}})
    with pytest.raises(ModelError, match="the weights are of another network"):
        fit(config, "pretrain", "test_resnet")


def test_a_regime_reaches_the_training_rows_alone(workspace, make_config, fit):
    (plan,) = fit.plans(make_config(protocols=["paper"]), "finetune", RANDOM)
    rows = {spec.tags["regime"]: set(spec.loaders.rows) for spec in plan.fits if spec.seed == 0}
    assert len(rows["half"]) == len(rows["all"]) // 2
    assert rows["half"] < rows["all"]
    other = next(spec for spec in plan.fits if spec.seed == 1 and spec.tags["regime"] == "half")
    assert set(other.loaders.rows) != rows["half"]


def test_a_thinned_regime_tests_every_seed_on_all_test_images(workspace, make_config):
    config = make_config(regimes={"rare": {"neg_pos_ratio": {"train": 3, "test": 4}}})
    data = open_dataset("toy")
    found = [
        under_regime(data, config.regimes["rare"], positive="ill", seed=seed).rows("test").tolist() for seed in (0, 1)
    ]
    assert found[0] == found[1]
    assert len(found[0]) == 8 + 8


def test_several_findings_are_one_fit_with_an_output_each(workspace, make_config, fit):
    config = make_config(tasks={"both": {"dataset": "toy", "findings": ["other", "bright"]}}, protocols=["paper"])
    fit(config, "finetune", RANDOM)
    _, description = load_model(study.fitted(RANDOM, "both-half-paper", 0).weights)
    expected = Head(outputs=("other", "bright"), activation="sigmoid", kind="probability")
    assert description["heads"] == {"findings": expected}
    metrics = description["extra"]["metrics"]
    assert metrics["val/auprc"] == metrics["val/macro_auprc"]
    assert metrics["val/auprc"] == pytest.approx((metrics["val/auprc_other"] + metrics["val/auprc_bright"]) / 2)


def test_a_label_column_with_only_blanks_is_refused(workspace, make_config, fit):
    config = make_config(tasks={"none": {"dataset": "toy", "findings": ["blank"]}}, regimes={"all": {}})
    with pytest.raises(DataError, match="blank: a label column with only blanks, expected known values"):
        fit.plans(config, "finetune", RANDOM)


def test_a_class_with_too_few_cases_for_the_regime_is_refused(workspace, make_config, fit):
    config = make_config(regimes={"all": {}, "few": {"share": 0.01}})
    with pytest.raises(DataError, match="class healthy has 24 training images, and 1% of them is none, expected at"):
        fit.plans(config, "finetune", RANDOM)


@pytest.mark.parametrize("changes", [{}, {"start": {}, "variants": [RANDOM]}], ids=["pretrained", "no start"])
def test_every_variant_is_checked_at_once_before_anything_trains(workspace, make_config, fit, changes):
    config = make_config(**changes)
    require_variants(config)
    wrong = config.model_copy(update={"variants": (*config.variants, "test_resnet_to_layer9-random")})
    phase = "pretrain" if config.start else "finetune"
    with pytest.raises(ModelError, match="cut 'layer9' does not exist; this network can be cut after conv1, layer1"):
        fit.plans(wrong, phase, "all")
    assert workspace == {}


def test_a_variant_that_is_not_configured_is_refused(workspace, make_config, fit):
    message = "variant 'vgg-random': truncated_transfer finetune has none of this name; there are test_resnet-random"
    with pytest.raises(ConfigError, match=message):
        fit.plans(make_config(), "finetune", "vgg-random")


@pytest.mark.parametrize(
    ("weighted", "expected"), [(False, None), (True, [1.0, 1.0])], ids=["without weights", "balanced"]
)
def test_class_weights_come_from_the_training_rows(workspace, make_config, fit, weighted, expected):
    (plan,) = fit.plans(make_config(class_weights=weighted), "finetune", RANDOM)
    weight = plan.fits[0].task().class_weight
    assert expected is None if weight is None else weight.tolist() == expected


def test_the_best_trial_is_the_first_among_equals_and_never_an_undefined_one():
    selection = SelectionConfig(metric="val/auprc")
    reached = [{"val/auprc": value} for value in (None, 0.5, 0.7, 0.7)]
    assert best_trial(reached, selection) == 2
    assert best_trial(reached[:2], selection) == 1
