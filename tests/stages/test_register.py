"""Who becomes the champion of a contest: the best fit by validation, whatever it does on test images."""

from types import SimpleNamespace

import pytest

from medtransfer import paths
from medtransfer.audit.record import write_audits
from medtransfer.errors import DataError
from medtransfer.evaluation.scorecard import best_fit
from medtransfer.files import sha256_file
from medtransfer.params import load_params
from medtransfer.stages import register
from medtransfer.studies import STUDIES, module
from medtransfer.studies.base import FittedModel

FITS = (("a", "none"), ("b", "none"))


def card(values, *, split="val", seeds=(0, 1)):
    """An entry per variant with the metric of each of its seeds."""
    return {
        f"{variant}/none/ct/{split}": {"seeds": list(seeds), "probability": {"metrics": {"auroc": {"per_seed": each}}}}
        for variant, each in values.items()
    }


def best(known):
    return best_fit(known, FITS, dataset="ct", metric="auroc")


def test_the_best_seed_by_validation_wins_and_test_rows_are_not_looked_at():
    known = card({"a": [0.6, 0.8], "b": [0.7, None]}) | card({"a": [0.1, 0.1], "b": [0.9, 0.9]}, split="test")
    expected = {"variant": "a", "condition": "none", "seed": 1, "metric": "auroc", "value": 0.8}
    assert best(known) == expected


def test_of_equal_fits_the_first_wins():
    assert best(card({"a": [0.5, 0.7], "b": [0.7, 0.7]}))["variant"] == "a"


def test_a_fit_that_does_not_compete_cannot_win():
    assert best(card({"a": [0.5, 0.6], "b": [0.4, 0.4], "c": [0.9, 0.9]}))["variant"] == "a"


def test_without_any_value_on_validation_rows_there_is_no_champion():
    with pytest.raises(DataError, match="ct: no fit has a value of auroc on validation rows; check that the val split"):
        best(card({"a": [None, None], "b": [None, None]}))


@pytest.mark.parametrize("study", STUDIES)
def test_every_competitor_of_a_contest_is_a_model_that_the_study_predicts(checkout, study):
    params = load_params(checkout / "params.yaml")
    predictions, config = module(study, "predictions"), params.study(study)
    fitted = {(model.variant, model.condition, model.dataset) for model in predictions.fitted(config)}
    contests = predictions.contests(config)
    assert contests
    for contest in contests:
        assert {(*fit, contest.dataset) for fit in contest.fits} <= fitted


@pytest.fixture
def registry(monkeypatch, tmp_path):
    """The stage with a registry that only notes which version got the alias."""
    promoted = []
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("DVC_ROOT", str(tmp_path))
    monkeypatch.setattr(register, "promotions", lambda *_: [])
    monkeypatch.setattr(register, "refresh", lambda *_: None)
    monkeypatch.setattr(
        register,
        "promote",
        lambda name, version, *_, **__: promoted.append(version) or SimpleNamespace(version=version),
    )
    return promoted


@pytest.mark.parametrize(("audit", "alias"), [("confounded: by: border", ""), ("no sign: …", "champion")])
def test_a_first_version_that_uses_a_shortcut_waits_for_a_person(registry, audit, alias, capsys):
    assert register.promote_the_first("covid-ct", 1, "champion", why="best", audit=audit) == alias
    assert registry == ([1] if alias else [])
    said = " ".join(capsys.readouterr().err.split())
    assert ("registry promote covid-ct --version 1" in said) == (not alias)


def test_a_network_without_audit_is_not_registered(registry):
    fit = FittedModel(study="s", folder="f", variant="v", condition="c", seed=0, network="n", dataset="ct")
    fit.weights.mkdir(parents=True)
    (fit.weights / "model.safetensors").write_bytes(b"weights")
    with pytest.raises(DataError, match=r"holds no audit of .*; run: medtransfer audit s"):
        register._audited(fit)
    halves = {half: {"verdict": "no sign", "reason": "no sign in: border"} for half in ("data", "model")}
    known = {"images": 9, "dataset": "ct", "weights": sha256_file(fit.weights / "model.safetensors"), **halves}
    worse = known | {"model": {"verdict": "suspicious", "reason": "suspicious by: border"}}
    write_audits(paths.audit("s"), [known, worse, known | {"weights": "others"}])
    assert register._audited(fit).startswith("suspicious: ")
