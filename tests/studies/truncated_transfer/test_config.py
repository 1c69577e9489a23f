"""Variants, tasks and trials: what a configuration accepts, and how it refuses the rest."""

import pytest
from pydantic import ValidationError

from medtransfer.errors import ModelError
from medtransfer.studies.truncated_transfer.config import Condition, TaskConfig, Variant


def test_a_variant_is_a_network_and_a_strategy(make_config):
    config = make_config()
    assert config.variant("test_resnet_to_layer2-transfer") == Variant("test_resnet_to_layer2", "transfer")
    assert config.structure("test_resnet_to_layer2-transfer").cut == "layer2"
    assert config.backbone("test_resnet_to_layer2-transfer") == "test_resnet"


def test_a_network_of_its_own_kind_is_its_own_backbone(make_config):
    config = make_config(variants=["cbr_tiny-transfer"], start={"cbr_tiny": {"kind": "train"}})
    assert config.backbone("cbr_tiny-transfer") == "cbr_tiny"


def test_every_variant_is_trained_on_tasks_times_regimes_times_protocols(make_config):
    conditions = make_config(protocols=["tuned"]).conditions()
    assert [condition.name for condition in conditions] == ["ill-all-tuned", "ill-half-tuned"]
    assert conditions[0] == Condition("ill", "all", "tuned")


def test_a_task_can_be_limited_to_some_regimes(make_config):
    tasks = {"ill": {"dataset": "toy", "positive": "ill"}, "bright": {"dataset": "toy", "findings": ["bright"]}}
    tasks["bright"]["regimes"] = ["half"]
    conditions = make_config(tasks=tasks, protocols=["paper"]).conditions()
    assert [condition.name for condition in conditions] == ["ill-all-paper", "ill-half-paper", "bright-half-paper"]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"variants": ["test_resnet"]},
            "variant 'test_resnet': expected <network>-<strategy> with one of random, transfer",
        ),
        ({"variants": ["densenet121_s2-transfer"]}, "transfusion is for slim networks"),
        ({"variants": ["test_resnet-transfusion"]}, "transfusion is for slim networks"),
        (
            {"variants": ["resnet18-transfer"]},
            "variant 'resnet18-transfer': start has no weights for 'resnet18'; add them",
        ),
        ({"tasks": {"a-b": {"dataset": "toy", "positive": "ill"}}}, "String should match pattern"),
        ({"tasks": {"a": {"dataset": "toy"}}}, "either a positive class or findings; give exactly one"),
        (
            {"tasks": {"a": {"dataset": "toy", "positive": "ill", "regimes": ["tenth"]}}},
            "tasks: there is no regime 'tenth'; there are all, half",
        ),
        ({"regimes": {"none": {"share": 0}}}, "greater than 0"),
        (
            {
                "tasks": {"a": {"dataset": "toy", "findings": ["x", "y"]}},
                "regimes": {"all": {}, "rare": {"neg_pos_ratio": {"test": 16}}},
            },
            "regime 'rare': task 'a' has several findings, and one ratio of "
            "negatives to positives cannot hold for all of them",
        ),
    ],
)
def test_mistakes_are_refused_in_a_sentence(make_config, changes, message):
    with pytest.raises(ValidationError, match=message):
        make_config(**changes)


def test_a_fit_without_selection_is_refused(make_config):
    train = {"epochs": 1, "batch_size": 4, "optimizer": {"name": "adam", "lr": 1e-5}, "schedule": {"name": "constant"}}
    with pytest.raises(ValidationError, match="train needs a selection metric: weights and learning rates are chosen"):
        make_config(train=train)


def test_a_network_that_does_not_exist_is_refused(make_config):
    with pytest.raises(ModelError, match="network 'cbr_huge' does not exist; there are cbr_larget"):
        make_config(variants=["cbr_huge-random"])


def test_a_task_has_one_kind():
    with pytest.raises(ValidationError, match="either a positive class or findings"):
        TaskConfig(dataset="toy", positive="ill", findings=("bright",))


@pytest.mark.parametrize(("budget", "steps"), [(1.0, 10), (0.5, 5), (0.01, 1)])
def test_trials_differ_only_in_the_rate_and_share_a_budget(make_config, budget, steps):
    config = make_config()
    train = config.train.model_copy(update={"steps": 10})
    trials = config.tuning.model_copy(update={"budget": budget}).trials(train, config.tuning.learning_rates)
    assert [trial.optimizer.lr for trial in trials] == [1e-4, 1e-3]
    assert {trial.steps for trial in trials} == {steps}
    assert {trial.model_dump_json(exclude={"optimizer", "steps"}) for trial in trials} == {
        train.model_dump_json(exclude={"optimizer", "steps"})
    }
