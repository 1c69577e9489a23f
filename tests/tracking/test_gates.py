"""What closes the way to an alias, and what a candidate brings with it."""

import json
import shutil

import pandas as pd
import pytest

from medtransfer.cli import run
from medtransfer.errors import GateClosed, ModelError
from medtransfer.files import sha256_file, write_json
from medtransfer.tracking import About, DatasetInput, finish, open_run, promote, promotions, register_model, registry
from medtransfer.tracking.fetching import note_audit
from medtransfer.tracking.history import describe, refresh
from medtransfer.tracking.store import client
from network_heads import class_heads

NAME = "covid-ct"
TAGS = {"metric": "auroc", "gate.leaks": "open: 4 data sets"}
CT = DatasetInput(name="ct", digest="d" * 36, split="test")


@pytest.fixture
def candidate(here, spec, monkeypatch):
    """Registers small files as a version; MLflow's own way to save a model is left out, because it takes seconds."""
    with open_run(spec, here / "records"):
        pass
    finish(here / "records")

    def save(path, folder, config, temperatures):
        outputs = json.dumps([{"type": "double", "name": name} for name in config["columns"]])
        shutil.copytree(folder, path / "artifacts")
        inputs = json.dumps([{"type": "tensor", "shape": [-1, config["preprocessing"]["channels"], -1, -1]}])
        write_json(path / "MLmodel", {"signature": {"inputs": inputs, "outputs": outputs}})

    monkeypatch.setattr(registry, "_save", save)

    def make(content, *, tags=TAGS, columns=("label", "probability_covid"), channels=1, validation=None, metrics=None):
        folder = here / content
        folder.mkdir()
        (folder / "model.safetensors").write_text(content)
        heads = {name: head.model_dump(mode="json") for name, head in class_heads("ab").items()}
        config = {"heads": heads, "preprocessing": {"channels": channels}, "columns": list(columns)}
        write_json(folder / "config.json", config | {"sha256": sha256_file(folder / "model.safetensors")})
        about = About(tags=tags, description="what", card="# card", validation=validation, metrics=metrics or {})
        return register_model(folder, records=here / "records", name=NAME, about=about)

    return make


def test_a_model_that_uses_a_shortcut_is_promoted_only_with_a_reason(candidate):
    candidate("one")
    note_audit(f"models:/{NAME}/1", "confounded: markers covered (on 80 images of ct; the data: confounded)")
    with pytest.raises(GateClosed, match="gate audit: confounded: markers covered"):
        promote(NAME, 1, "champion", "first")
    entry = promote(NAME, 1, "champion", "first", override="a test of the stamp")
    assert entry.override == "a test of the stamp"
    assert entry.gates["audit"].startswith("not shown: confounded")


@pytest.mark.parametrize("found", ["no sign: …", "suspicious: border", "cannot tell: 10 patients"])
def test_any_other_verdict_of_an_audit_stays_visible(candidate, found):
    candidate("one")
    note_audit(f"models:/{NAME}/1", found)
    assert promote(NAME, 1, "champion", "first").gates["audit"] == f"open: {found}"


def stored(here, name):
    return sorted((here / "mlartifacts").rglob(name))


def test_a_candidate_has_no_alias_until_it_is_promoted(candidate):
    assert candidate("one") == 1
    assert promotions(NAME, "champion") == []
    assert promote(NAME, 1, "champion", "first").gates == {
        "leaks": "open: 4 data sets",
        "audit": "open: not audited",
        "weights": f"open: SHA-256 {client().get_model_version(NAME, '1').tags['sha256'][:12]}",
        "signature": "open: 2 columns",
    }


def test_the_command_to_promote_a_version_without_its_artifact_says_so_in_one_line(here, candidate, capsys):
    candidate("one")
    for path in stored(here, "model.safetensors"):
        path.unlink()
    assert run(["registry", "promote", NAME, "--version", "1", "--why", "first"]) == 3
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert "gate weights is closed: covid-ct version 1: model.safetensors cannot be downloaded" in error


def test_registering_again_makes_a_version_that_is_there_again(here, candidate):
    candidate("one")
    for path in stored(here, "model.safetensors"):
        path.unlink()
    shutil.rmtree(here / "one")
    assert candidate("one") == 2
    shutil.rmtree(here / "one")
    assert candidate("one") == 2


def test_changed_weights_close_the_gate_and_are_not_registered(here, candidate):
    candidate("one")
    stored(here, "model.safetensors")[0].write_text("two")
    with pytest.raises(GateClosed, match=r"gate weights is closed: .*its SHA-256 differs"):
        promote(NAME, 1, "champion", "first")
    (here / "one" / "model.safetensors").write_text("flipped")
    with pytest.raises(ModelError, match="not the file that its fit wrote"):
        register_model(here / "one", records=here / "records", name=NAME)


def test_without_a_word_about_leaks_the_gate_is_closed(candidate):
    candidate("one", tags={})
    with pytest.raises(GateClosed, match="gate leaks is closed: nothing says that the leak gate was open"):
        promote(NAME, 1, "champion", "first")


@pytest.mark.parametrize(
    ("changed", "reason"),
    [({"channels": 3}, "takes .* version 1 takes"), ({"columns": ["label"]}, "lacks the column probability_covid")],
)
def test_another_signature_closes_the_gate_even_with_an_override(candidate, changed, reason):
    candidate("one")
    candidate("two", **changed)
    promote(NAME, 1, "champion", "first")
    with pytest.raises(GateClosed, match=f"gate signature is closed: {reason}"):
        promote(NAME, 2, "champion", "better", override="yes")


@pytest.mark.parametrize("state", ["open", "closed", "not shown"])
def test_the_comparison_with_the_champion_decides_and_only_not_shown_can_be_overridden(candidate, state):
    tables = [pd.DataFrame({"score": [value]}) for value in (0.1, 0.2)]
    for name, table in zip(("one", "two"), tables, strict=True):
        candidate(name, validation=table)
    seen = []

    def compare(own, other, metric):
        seen.append((own["score"].item(), other["score"].item(), metric))
        return state, "the reason"

    promote(NAME, 1, "champion", "first", compare=compare)
    assert seen == []
    if state == "open":
        entry = promote(NAME, 2, "champion", "better", compare=compare, override="not needed")
        assert (entry.gates["champion"], entry.override) == ("open: the reason", "")
    else:
        with pytest.raises(GateClosed, match="the reason"):
            promote(NAME, 2, "champion", "better", compare=compare)
    if state == "closed":
        with pytest.raises(GateClosed, match="the reason"):
            promote(NAME, 2, "champion", "better", compare=compare, override="I want it")
    if state == "not shown":
        promote(NAME, 2, "champion", "better", compare=compare, override="seen by readers")
        assert promotions(NAME, "champion")[-1].override == "seen by readers"
    assert set(seen) == {(0.2, 0.1, "auroc")}


def test_versions_chosen_by_different_metrics_are_not_compared(candidate):
    candidate("one")
    candidate("two", tags=TAGS | {"metric": "auprc"})
    promote(NAME, 1, "champion", "first")
    with pytest.raises(GateClosed, match="chosen by auprc, version 1 by auroc"):
        promote(NAME, 2, "champion", "better")


def test_a_kill_between_logged_model_and_version_leaves_no_orphan(here, candidate, monkeypatch):
    def die(*_, **__):
        raise KeyboardInterrupt

    for step in ("create_model_version", "finalize_logged_model"):
        with monkeypatch.context() as patch:
            patch.setattr(f"mlflow.MlflowClient.{step}", die)
            with pytest.raises(KeyboardInterrupt):
                candidate(step)
        shutil.rmtree(here / step)
        candidate(step)
    home = client().get_experiment_by_name("attentive_transfer").experiment_id
    logged = {model.model_id for model in client().search_logged_models([home])}
    assert logged == {v.tags["model_id"] for v in client().search_model_versions(f"name = '{NAME}'")}
    assert len(logged) == 2


def test_a_version_has_words_numbers_with_bounds_and_its_card(here, candidate):
    numbers = {"test/auroc": 0.8, "test/auroc_low": 0.7, "test/auroc_high": 0.9}
    for _ in range(2):
        candidate("one", metrics={CT: numbers})
        shutil.rmtree(here / "one")
    version = client().get_model_version(NAME, "1")
    assert version.description == "what"
    logged = client().get_logged_model(version.tags["model_id"])
    found = [(m.key, m.value, m.dataset_name, m.dataset_digest) for m in logged.metrics]
    assert sorted(found) == sorted((key, value, "ct", "d" * 36) for key, value in numbers.items())
    assert json.loads(logged.tags["mlflow.modelVersions"]) == [{"name": NAME, "version": 1}]
    assert [path.read_text() for path in stored(here, "README.md")] == ["# card"]


def test_description_and_history_of_a_model_keep_each_other(candidate):
    candidate("one")
    describe(NAME, "Networks.")
    promote(NAME, 1, "champion", "first")
    refresh(NAME, promotions(NAME, "champion"))
    describe(NAME, "Other networks.")
    text = client().get_registered_model(NAME).description
    assert text.startswith("Other networks.\n\n## History")
    assert "| champion | – | 1 | pipeline | first | – |" in text
