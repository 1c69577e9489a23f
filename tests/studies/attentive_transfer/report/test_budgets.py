import pytest

from medtransfer.studies.attentive_transfer.report.budgets import shared_budget
from medtransfer.training.optim import TrainConfig


def train(name="sgd", lr=0.02, *, reference_batch=None, **changes):
    optimizer = {"name": name, "lr": lr, "reference_batch": reference_batch}
    length = {"steps": changes["steps"]} if "steps" in changes else {"epochs": 10}
    return TrainConfig.model_validate({"optimizer": optimizer, "batch_size": 32} | length | changes)


@pytest.fixture
def said(config):
    """What is said where the paper's method and others train like this."""

    def say(own, **others):
        recipe = config.recipes["moco"]
        changes = {
            "sstl_m": config.sstl_m.model_copy(update={"train": own}),
            "recipes": {name: recipe.model_copy(update={"train": one}) for name, one in others.items()},
            "methods": tuple(others),
        }
        return shared_budget(config.model_copy(update=changes))

    return say


def test_one_budget_is_named_with_what_the_methods_own_papers_use(said):
    assert said(train(), moco=train(), simclr=train(), region_scale=train()) == (
        "SSTL-M, MoCo, SimCLR and regions alone learn here with one optimiser and budget (SGD, learning rate 0.02, 10 "
        "epochs of batches of 32); their own papers train SimCLR with LARS."
    )
    adam = train("adamw", 0.0003, steps=500)
    assert said(adam, moco_v2=adam, simclr=adam) == (
        "SSTL-M, MoCo v2 and SimCLR learn here with one optimiser and budget (AdamW, learning rate 0.0003, 500 steps "
        "of batches of 32); their own papers train SSTL-M and MoCo v2 with SGD and SimCLR with LARS."
    )


def test_where_the_papers_use_the_same_there_is_nothing_to_add(said):
    assert said(train(), moco=train()).endswith("10 epochs of batches of 32).")


def test_a_rate_that_grows_with_the_batch_is_the_one_that_was_used(said):
    grown = train(lr=0.06, reference_batch=256)
    assert "learning rate 0.0075," in said(grown, moco=grown)


def test_without_methods_on_one_budget_nothing_is_said(said):
    assert said(train()) == ""
    assert said(train(), moco=train(batch_size=64)) == ""
