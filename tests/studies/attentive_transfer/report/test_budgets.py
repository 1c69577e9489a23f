import pytest

from medtransfer.studies.attentive_transfer.report.budgets import shared_budget
from medtransfer.training.optim import TrainConfig


def train(name="sgd", lr=0.02, *, reference_batch=None, **changes):
    optimizer = {"name": name, "lr": lr, "reference_batch": reference_batch}
    length = {"steps": changes["steps"]} if "steps" in changes else {"epochs": 10}
    return TrainConfig.model_validate({"optimizer": optimizer, "batch_size": 32} | length | changes)


@pytest.fixture
def budget_note(config):
    """What is budget_note where the paper's method and others train like this."""

    def say(own, **others):
        recipe = config.recipes["moco"]
        changes = {
            "sstl_m": config.sstl_m.model_copy(update={"train": own}),
            "recipes": {name: recipe.model_copy(update={"train": one}) for name, one in others.items()},
            "methods": tuple(others),
        }
        return shared_budget(config.model_copy(update=changes))

    return say


def test_one_budget_is_named_with_what_the_methods_own_papers_use(budget_note):
    assert budget_note(train(), moco=train(), simclr=train(), region_scale=train()) == (
        "SSTL-M, MoCo, SimCLR and regions alone share one optimiser and budget here (SGD, learning rate 0.02, 10 "
        "epochs, batch size 32); their own papers train SimCLR with LARS."
    )
    adam = train("adamw", 0.0003, steps=500)
    assert budget_note(adam, moco_v2=adam, simclr=adam) == (
        "SSTL-M, MoCo v2 and SimCLR share one optimiser and budget here (AdamW, learning rate 0.0003, 500 steps, "
        "batch size 32); their own papers train SSTL-M and MoCo v2 with SGD and SimCLR with LARS."
    )


def test_where_the_papers_use_the_same_there_is_nothing_to_add(budget_note):
    assert budget_note(train(), moco=train()).endswith("10 epochs, batch size 32).")


def test_a_rate_that_grows_with_the_batch_is_the_one_that_was_used(budget_note):
    grown = train(lr=0.06, reference_batch=256)
    assert "learning rate 0.0075," in budget_note(grown, moco=grown)


def test_without_methods_on_one_budget_nothing_is_said(budget_note):
    assert budget_note(train()) == ""
    assert budget_note(train(), moco=train(batch_size=64)) == ""
