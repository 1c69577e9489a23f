import pytest

from medtransfer.studies.attentive_transfer.report.budgets import shared_budget


def train(name="sgd", lr=0.02, **changes):
    optimizer = {"name": name, "lr": lr, "reference_batch": changes.pop("reference_batch", None)}
    return {"optimizer": optimizer, "epochs": 10, "steps": None, "batch_size": 32} | changes


def test_one_budget_is_named_with_what_the_methods_own_papers_use():
    same = {step: train() for step in ("sstl_m", "moco", "simclr", "region_scale")}
    assert shared_budget(same) == (
        "SSTL-M, MoCo, SimCLR and regions alone learn here with one optimiser and budget (SGD, learning rate 0.02, 10 "
        "epochs of batches of 32); their own papers train SimCLR with LARS."
    )
    adam = {step: train("adamw", 0.0003, epochs=None, steps=500) for step in ("sstl_m", "moco_v2", "simclr")}
    assert shared_budget(adam) == (
        "SSTL-M, MoCo v2 and SimCLR learn here with one optimiser and budget (AdamW, learning rate 0.0003, 500 steps "
        "of batches of 32); their own papers train SSTL-M and MoCo v2 with SGD and SimCLR with LARS."
    )


def test_where_the_papers_use_the_same_there_is_nothing_to_add():
    assert shared_budget({"sstl_m": train(), "moco": train()}).endswith("10 epochs of batches of 32).")


def test_a_rate_that_grows_with_the_batch_is_the_one_that_was_used():
    assert "learning rate 0.0075," in shared_budget(dict.fromkeys(("a", "b"), train(lr=0.06, reference_batch=256)))


@pytest.mark.parametrize("budgets", [{}, {"sstl_m": train()}, {"sstl_m": train(), "moco": train(batch_size=64)}])
def test_without_methods_on_one_budget_nothing_is_said(budgets):
    assert shared_budget(budgets) == ""
