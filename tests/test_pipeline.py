"""dvc.yaml, params.yaml and MLproject agree with the code: stages, tokens, parameters, outputs, verbs."""

import configparser
import re
from pathlib import Path

import pytest
import ruamel.yaml.main
import yaml

from medtransfer import studies
from medtransfer.cli import build_parser
from medtransfer.config import Config, flatten
from medtransfer.params import parse_params
from medtransfer.stages.code import tokens

ROOT = Path(__file__).parent.parent
PIPELINE = yaml.safe_load((ROOT / "dvc.yaml").read_text(encoding="utf-8"))["stages"]
PARAMS = yaml.safe_load((ROOT / "params.yaml").read_text(encoding="utf-8"))
LATE = {
    "attentive_transfer.outside", "attentive_transfer.model", "multitask_vit.model", "visual_transfer.model",
    "visual_transfer.floor", *(f"visual_transfer.maximized.{name}" for name in ("columns", "iterations", "filters")),
}  # fmt: skip
"""Read after training alone, by stages that track the whole study."""
PHASES = [(name, phase) for name in studies.STUDIES for phase in studies.module(name, "study").PHASES]


@pytest.fixture(scope="module")
def resolved():
    """The stages as DVC itself runs them, every matrix and template filled in: name → cmd, deps, params, outs."""
    from dvc.parsing import DataResolver
    from dvc.repo import Repo

    with Repo(str(ROOT), uninitialized=True) as repo:
        return DataResolver(repo, str(ROOT), {"vars": ["params.yaml"], "stages": PIPELINE}).resolve()["stages"]


@pytest.fixture(scope="module")
def params():
    return parse_params(PARAMS)


def commands(stage):
    return [stage["cmd"]] if isinstance(stage["cmd"], str) else stage["cmd"]


def called(stage):
    """What the commands of a stage say to the command line."""
    for command in commands(stage):
        words = command.split()
        assert words[:3] == ["python", "-m", "medtransfer"]
        yield build_parser().parse_args(words[3:])


def paths_of(stage, kind):
    return [entry if isinstance(entry, str) else next(iter(entry)) for entry in stage.get(kind, [])]


def depends(stage, path):
    return any(path == dep or path.startswith(f"{dep}/") for dep in stage["deps"])


def shaping():
    """Values that the pipeline's own templates read: they decide which stages there are and what these depend on."""
    return set(re.findall(r"\$\{([\w.]+)\}", (ROOT / "dvc.yaml").read_text(encoding="utf-8")))


def covers(name, key):
    return key == name or key.startswith(f"{name}.")


def test_every_phase_of_every_study_is_run(resolved):
    fits = [options for stage in resolved.values() for options in called(stage) if options.stage == "fit"]
    assert {(options.study, options.phase) for options in fits} == set(PHASES)


def test_every_condition_that_a_study_needs_is_fitted_once(resolved, params):
    expected, called_for = [], []
    for name, phase in PHASES:
        wiring, config = studies.module(name, "study"), params.study(name)
        for variant in wiring.variants(config, phase):
            expected += [(name, phase, variant, condition) for condition in wiring.conditions(config, phase, variant)]
    for stage in resolved.values():
        for o in called(stage):
            if o.stage == "fit":
                wiring, config = studies.module(o.study, "study"), params.study(o.study)
                for variant in wiring.variants(config, o.phase) if o.variant == studies.ALL else (o.variant,):
                    known = wiring.conditions(config, o.phase, variant)
                    called_for += [(o.study, o.phase, variant, condition) for condition in o.condition or known]
    assert sorted(called_for) == sorted(expected)


def test_every_verb_of_a_study_has_its_stage(resolved):
    pairs = {(o.stage, o.study) for stage in resolved.values() for o in called(stage) if o.stage in studies.VERBS}
    assert pairs == {(verb, name) for verb in studies.VERBS for name in studies.with_verb(verb)}


@pytest.mark.parametrize("key", flatten({name: part for name, part in PARAMS.items() if name != "tuning"}))
def test_every_value_of_params_is_tracked_by_a_stage_that_names_it(key, resolved):
    """A whole section, as late stages track it, vouches for nothing once a stage tracks parts of it by name."""
    names = {name for stage in resolved.values() for name in stage.get("params", [])} | shaping()
    sections = {name for name in names if name in PARAMS and any(other.startswith(f"{name}.") for other in names)}
    assert key in LATE or any(covers(name, key) for name in names - sections)


def test_every_tracked_name_exists_in_params(resolved):
    for name in {name for stage in resolved.values() for name in stage.get("params", [])}:
        node = PARAMS
        for part in name.split("."):
            assert part in node, name
            node = node[part]


def test_every_stage_depends_on_the_token_of_the_code_that_it_runs(resolved):
    known = tokens()
    for name, stage in resolved.items():
        for options in called(stage):
            if options.stage != "code":
                parts = [options.stage, *(getattr(options, key, "") for key in ("study", "phase"))]
                token = "-".join(part for part in parts if part)
                assert token in known
                assert f"out/code/{token}.json" in stage["deps"], name
    assert resolved["code"]["deps"] == ["src/medtransfer"]


def test_no_other_stage_depends_on_source_folders(resolved):
    sources = {
        dep for name, stage in resolved.items() for dep in stage["deps"] if dep.startswith("src") and name != "code"
    }
    assert not sources


def test_the_gate_is_before_every_fit_and_after_every_data_set(resolved, params):
    for name, stage in resolved.items():
        for options in called(stage):
            if options.stage == "fit":
                assert f"out/gate/chains/{options.study}.json" in stage["deps"], name
    for name in params.datasets:
        assert depends(resolved["gate"], f"out/datasets/{name}")


class Read:
    """Parameters that note the dotted name of every value that is read of them."""

    def __init__(self, config, name, names):
        self._config, self._name, self._names = config, name, names

    def __getattr__(self, part):
        value, name = getattr(self._config, part), f"{self._name}.{part}"
        if callable(value):
            return value
        if isinstance(value, Config):
            return Read(value, name, self._names)
        self._names.add(name)
        return value


@pytest.mark.parametrize("study", studies.STUDIES)
def test_the_gate_tracks_every_parameter_that_it_reads(study, resolved, params):
    names = set()
    known = studies.module(study, "study").datasets(Read(params.study(study), study, names))
    assert set(known) <= params.datasets.keys()
    assert names
    for name in names:
        assert any(covers(tracked, name) for tracked in resolved["gate"]["params"]), name


def test_the_front_page_depends_on_every_report(resolved):
    assert {f"out/report/{study}" for study in studies.STUDIES} <= set(resolved["overview"]["deps"])


def test_a_fit_depends_on_the_data_set_that_it_reads_and_on_no_other(resolved, params):
    config = params.attentive_transfer
    for name, stage in resolved.items():
        for options in called(stage):
            if options.stage == "fit" and options.study == "attentive_transfer" and options.phase != "start":
                data = [dep for dep in stage["deps"] if dep.startswith("out/gate/datasets/")]
                assert data == [f"out/gate/datasets/{getattr(config, options.phase).dataset}.json"], name


def test_what_reads_all_data_of_a_study_depends_on_the_token_of_its_data(resolved):
    for name, stage in resolved.items():
        if name.split("@")[0] in ("predict", "transferability", "explain", "measure", "report"):
            assert f"out/gate/studies/{name.split('@')[1]}.json" in stage["deps"], name


def test_fits_write_where_the_study_reads_and_later_stages_depend_on_it(resolved, params):
    for model in studies.module("attentive_transfer", "predictions").fitted(params.attentive_transfer):
        stage = resolved[f"fit-attentive_transfer-finetune@{model.variant}"]
        assert str(model.weights.parent.parent) in paths_of(stage, "outs")
        assert str(model.records.parent.parent) in paths_of(stage, "outs")
        assert depends(resolved["predict@attentive_transfer"], str(model.weights))


def test_the_pipeline_stays_a_table_of_contents(resolved):
    assert len(resolved) <= 60
    assert len((ROOT / "dvc.yaml").read_text(encoding="utf-8").splitlines()) <= 400


def test_dvc_reads_its_files_with_libyaml():
    # DVC reads params.yaml once per stage; without the C parser nothing to do takes 5 s in place of 3
    assert ruamel.yaml.main.CParser is not None
    assert ruamel.yaml.YAML(typ="safe").Parser is ruamel.yaml.main.CParser


def test_mlproject_has_the_verbs_and_main():
    project = yaml.safe_load((ROOT / "MLproject").read_text(encoding="utf-8"))
    verbs = next(a for a in build_parser()._actions if a.dest == "==SUPPRESS==" or a.choices).choices
    assert set(project["entry_points"]) == {"main", *verbs}
    assert (ROOT / project["conda_env"]).exists()
    for name, entry in project["entry_points"].items():
        assert name == "main" or f"-m medtransfer {name}" in entry["command"]
        assert set(entry.get("parameters", {})) == {p.split("}")[0] for p in entry["command"].split("{")[1:]}


@pytest.mark.parametrize(("name", "phase"), PHASES)
def test_mlproject_can_start_every_phase_of_every_study(name, phase, params):
    """The command of the entry point, filled in, is one that the command line takes, with a variant that exists."""
    entry = yaml.safe_load((ROOT / "MLproject").read_text(encoding="utf-8"))["entry_points"]["fit"]
    variants = studies.module(name, "study").variants(params.study(name), phase)
    for variant in (entry["parameters"]["variant"]["default"], *variants):
        words = entry["command"].format(study=name, phase=phase, variant=variant).split("-m medtransfer ")[1].split()
        options = build_parser().parse_args(words)
        assert (options.study, options.phase) == (name, phase)
        assert options.variant in (studies.ALL, *variants)


def test_importing_the_code_does_not_change_its_hash():
    assert "__pycache__/" in (ROOT / ".dvcignore").read_text(encoding="utf-8").split()


def test_the_sample_comes_out_of_this_repository():
    config = configparser.ConfigParser()
    config.read(ROOT / ".dvc" / "config")
    name = config["core"]["remote"]
    folder = (ROOT / ".dvc" / config[f"'remote \"{name}\"'"]["url"]).resolve()
    assert folder.is_relative_to(ROOT)
    out = yaml.safe_load((ROOT / "data.dvc").read_text(encoding="utf-8"))["outs"][0]
    assert (folder / "files" / "md5" / out["md5"][:2] / out["md5"][2:]).is_file()


def test_the_sample_is_small_enough_for_git():
    out = yaml.safe_load((ROOT / "data.dvc").read_text(encoding="utf-8"))["outs"][0]
    assert out["path"] == "data"
    assert out["size"] < 8e6


def test_searches_are_apart_from_the_pipeline():
    searches = yaml.safe_load((ROOT / "tuning" / "dvc.yaml").read_text(encoding="utf-8"))["stages"]["tune"]
    assert searches["foreach"] == "${tuning}"
    assert "tuning.${key}" in searches["do"]["params"]
    assert "medtransfer tune" not in (ROOT / "dvc.yaml").read_text(encoding="utf-8")
    assert "out/tuning" not in str(PIPELINE)
