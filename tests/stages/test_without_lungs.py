"""Slices without lungs: the documented fallback, counted in the run of the self-supervised fit and in its record."""

import pytest
from PIL import Image

from medtransfer.cli import run
from medtransfer.tracking.journal import points, read_events

STUDY, NETWORK, CHAIN = "attentive_transfer", "resnet18_attn1", "none-sstl_m"


@pytest.fixture
def fitted(toy, capsys):
    """A self-supervised fit of one step on twelve phantoms, two of them replaced by an even grey."""
    study, small = toy.params[STUDY], {"crop": 32, "hflip": 0.5}
    toy.params["datasets"]["ct"]["pack"]["size"] = 64
    study["sstl_m_after"] = ["none"]
    study["sstl_m"] |= {"augment": small, "region_augment": {"crop": 16}, "region_size": 16, "probe_neighbours": 4}
    study["sstl_m"]["method"]["queue"] = 12
    study["sstl_m"]["train"] = study["finetune"]["train"] | {"batch_size": 12, "selection": None}
    toy.write_params()
    toy.draw_phantoms(masks=False)
    for name in ("00", "09"):
        Image.new("L", (64, 64), 90).save(toy.folder / f"data/ct/{name}.png")
    for words in (["prepare", "ct"], *(["fit", STUDY, phase, NETWORK] for phase in ("start", "sstl_m"))):
        assert run(words) == 0, capsys.readouterr().err[-2000:]
    return toy.folder


@pytest.mark.slow
def test_slices_without_lungs_are_a_metric_of_the_run_logged_once(fitted):
    from mlflow import MlflowClient

    client = MlflowClient(f"sqlite:///{fitted}/mlflow.db")
    (tracked,) = client.search_runs([client.get_experiment_by_name(STUDY).experiment_id])
    counts = {"data/images": 12, "data/without_lungs": 2}
    assert {name: tracked.data.metrics[name] for name in counts} == counts
    assert [len(client.get_metric_history(tracked.info.run_id, name)) for name in counts] == [1, 1]
    records = fitted / "out" / STUDY / "records" / "pretrain" / NETWORK / CHAIN / "seed0"
    events, _ = read_events(records / "events.jsonl")
    assert {key: value for key, step, value in points(events) if step == 0 and key in counts} == counts
