"""How stages reach studies: which verbs a study has, what a fit consists of, and what is refused in one line."""

from types import SimpleNamespace

import pytest

from medtransfer import studies
from medtransfer.errors import ConfigError
from medtransfer.params import load_params
from medtransfer.studies.phases import Phase


def test_every_study_is_a_module_that_says_its_own_name():
    for name in studies.STUDIES:
        wiring = studies.module(name, "study")
        assert name == wiring.NAME
        assert all(studies.has(name, phase.module) for phase in wiring.PHASES.values())
        assert {phase.folder for phase in wiring.PHASES.values()} == {"pretrain", "finetune"}


def test_a_verb_exists_for_the_studies_that_have_its_module():
    assert studies.with_verb("predict") == studies.with_verb("report") == studies.STUDIES
    assert studies.with_verb("transferability") == ("attentive_transfer",)
    assert studies.with_verb("measure") == ("truncated_transfer",)


def test_a_fit_runs_the_module_of_its_phase_and_every_other_verb_its_own():
    folder = "medtransfer.studies.attentive_transfer"
    assert studies.entries("fit", "attentive_transfer", "stl_m") == [f"{folder}.study", f"{folder}.supervised"]
    assert studies.entries("score", "attentive_transfer") == [f"{folder}.study", f"{folder}.predictions"]


@pytest.mark.parametrize(
    ("call", "text"),
    [
        (
            lambda: studies.module("third", "study"),
            "study 'third': there is no such study; choose one of attentive_transfer, truncated_transfer",
        ),
        (lambda: studies.entries("fit", "third", "finetune"), "study 'third': there is no such study; choose one of "),
        (
            lambda: studies.module("truncated_transfer", "transferability"),
            "study 'truncated_transfer': it has no module 'transferability'",
        ),
        (
            lambda: studies.entries("fit", "truncated_transfer", "start"),
            "phase 'start': truncated_transfer has none of this name; there are pretrain, finetune",
        ),
        (
            lambda: next(studies.plans("truncated_transfer", None, "start", "all", None)),
            "phase 'start': truncated_transfer has none of this name; there are pretrain, finetune",
        ),
    ],
)
def test_what_a_study_does_not_have_is_refused_in_one_line(call, text):
    with pytest.raises(ConfigError) as refused:
        call()
    assert str(refused.value).startswith(text)
    assert "\n" not in str(refused.value)


@pytest.fixture
def toy(monkeypatch):
    """A study of two variants, of which one has a condition more; its plans say what they are asked for."""
    conditions = {"small": ("plain",), "large": ("plain", "tuned")}
    modules = {
        "study": SimpleNamespace(
            PHASES={"finetune": Phase("finetuning", "finetune")},
            variants=lambda config, phase: tuple(conditions),
            conditions=lambda config, phase, variant: conditions[variant],
        ),
        "finetuning": SimpleNamespace(plan=lambda config, phase, variant, chosen, setting: (variant, chosen)),
    }
    monkeypatch.setattr(studies, "module", lambda study, name: modules[name])

    def planned(variant, *conditions):
        return list(studies.plans("toy", None, "finetune", variant, None, conditions=conditions))

    return planned


def test_all_stands_for_every_variant_with_all_of_its_conditions(toy):
    assert toy("all") == [("small", ("plain",)), ("large", ("plain", "tuned"))]
    assert toy("large") == [("large", ("plain", "tuned"))]


def test_named_conditions_are_planned_alone_and_in_the_study_s_order(toy):
    assert toy("large", "tuned") == [("large", ("tuned",))]
    assert toy("large", "tuned", "plain") == [("large", ("plain", "tuned"))]
    assert toy("all", "plain") == [("small", ("plain",)), ("large", ("plain",))]


@pytest.mark.parametrize(
    ("words", "text"),
    [
        (("huge",), "variant 'huge': toy finetune has none of this name; there are small, large"),
        (("large", "wild"), "condition 'wild': toy finetune large has none of this name; there are plain, tuned"),
    ],
)
def test_a_variant_or_condition_that_does_not_exist_is_refused_with_those_that_do(toy, words, text):
    with pytest.raises(ConfigError) as refused:
        toy(*words)
    assert str(refused.value) == text


def test_a_condition_that_one_variant_lacks_is_refused_before_the_first_is_planned(toy):
    plans = studies.plans("toy", None, "finetune", "all", None, conditions=["tuned"])
    with pytest.raises(ConfigError, match="condition 'tuned': toy finetune small has none of this name"):
        next(plans)


@pytest.mark.parametrize("name", studies.with_verb("explain"))
def test_a_gallery_shows_networks_that_the_study_fits_on_data_that_it_reads(name, checkout):
    config = load_params(checkout / "params.yaml").study(name)
    asked = studies.module(name, "explanations").explained(config)
    fitted = {
        (fit.folder, fit.variant, fit.condition, fit.seed) for fit in studies.module(name, "predictions").fitted(config)
    }
    shown = {(fit.folder, fit.variant, fit.condition, fit.seed) for fit in asked.networks.values()}
    assert 1 < len(shown) == len(asked.networks)
    assert shown <= fitted
    assert asked.dataset in studies.module(name, "study").datasets(config)
    assert asked.positive
