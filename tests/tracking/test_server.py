"""A real MLflow server on loopback: stopped in the middle of a run and started again; its registry."""

import shutil
import time

import pytest

from medtransfer.files import sha256_file, write_json
from medtransfer.tracking import fetch_model, finish, open_run, replay
from medtransfer.tracking.store import client
from network_heads import class_heads

pytestmark = pytest.mark.slow


def test_a_server_that_dies_in_the_middle_of_a_run_is_caught_up_exactly_once(here, spec, server, monkeypatch):
    monkeypatch.setattr("medtransfer.tracking.shipping.FLUSH_SECONDS", 0.2)
    server.start()
    with open_run(spec, here / "scratch", uri=server.uri) as tracker:
        for step in range(50):
            tracker.metrics({"a": float(step)}, step)
        tracker.text("notes/a.txt", "before")
        time.sleep(2)
        server.stop()
        for step in range(50, 100):
            tracker.metrics({"a": float(step)}, step)
        tracker.text("notes/b.txt", "after")
    run_id = finish(here / "scratch")["run_id"]
    server.start()
    replay(here / "scratch", uri=server.uri)
    assert replay(here / "scratch", uri=server.uri) == 0
    store = client(server.uri)
    assert store.get_run(run_id).info.status == "FINISHED"
    assert [(p.step, p.value) for p in store.get_metric_history(run_id, "a")] == [(s, float(s)) for s in range(100)]
    assert [item.path for item in store.list_artifacts(run_id, "notes")] == ["notes/a.txt", "notes/b.txt"]


def test_the_registry_works_through_a_server(here, spec, server, monkeypatch):
    from medtransfer.tracking import registry

    server.start()
    with open_run(spec, here / "records", uri=server.uri) as tracker:
        tracker.metrics({"val/auroc": 0.8}, 0)
    finish(here / "records")
    (here / "weights").mkdir()
    (here / "weights" / "model.safetensors").write_bytes(b"weights")
    heads = {name: head.model_dump(mode="json") for name, head in class_heads("ab").items()}
    write_json(here / "weights" / "config.json", {"heads": heads, "preprocessing": {"channels": 1}})
    monkeypatch.setattr(
        registry, "_save", lambda path, folder, config, given: shutil.copytree(folder, path / "artifacts")
    )
    assert registry.register_model(here / "weights", records=here / "records", uri=server.uri) == 1
    found = fetch_model("models:/covid-ct/1", uri=server.uri)
    assert sha256_file(found / "model.safetensors") == sha256_file(here / "weights" / "model.safetensors")
