"""dvc.yaml against the code: each phase has its stage, each stage depends on the code and the values it reads."""

import configparser
import re
from pathlib import Path

import pytest
import yaml

from medtransfer.cli import PHASES, STUDIES, build_parser
from medtransfer.config import flatten
from medtransfer.studies.attentive_transfer import study

ROOT = Path(__file__).parent.parent
PIPELINE = yaml.safe_load((ROOT / "dvc.yaml").read_text(encoding="utf-8"))["stages"]
PARAMS = yaml.safe_load((ROOT / "params.yaml").read_text(encoding="utf-8"))
GLUE = {"cli", "stages", "params", "errors", "files", "paths", "__main__"}
"""Not among the stages' dependencies: verbs, wiring and layer zero hold no number and retrain nothing."""
COMPUTES = ("transferability", "explain", "measure")
"""Verbs whose work is a module of the study that does nothing else."""
NAMES = ("config", "study")
"""Modules of a study that say where fits lie: what they wire together is the fits' own."""
PRINTING = "medtransfer.training.progress"
LATE = {"attentive_transfer.outside"}
"""Read after training alone, by stages that track the whole study."""


def body(name):
    return PIPELINE[name].get("do", PIPELINE[name])


def closure(sources, module):
    """All modules that a module imports, directly or not; never through the glue, which imports everything."""
    found, waiting = set(), [module]
    while waiting:
        for other in sources.inner(waiting.pop(), types=False) - found:
            found.add(other)
            if room(other) not in GLUE or other.startswith("medtransfer.stages"):
                waiting.append(other)
    return {other for other in found if room(other) and room(other) not in GLUE}


def room(module):
    return module.split(".")[1] if "." in module else ""


def code_deps(name):
    paths = [dep.removeprefix("src/").removesuffix(".py") for dep in body(name)["deps"] if dep.startswith("src/")]
    return [path.replace("/", ".") for path in paths]


def is_covered(module, deps):
    """A package's own file is a docstring, so a dependency inside the package covers it too."""
    return any(module == dep or module.startswith(f"{dep}.") or dep.startswith(f"{module}.") for dep in deps)


@pytest.fixture(scope="module")
def resolved():
    """The stages as DVC itself runs them, every matrix and template filled in: name → cmd, deps, params, outs."""
    from dvc.parsing import DataResolver
    from dvc.repo import Repo

    with Repo(str(ROOT), uninitialized=True) as repo:
        return DataResolver(repo, str(ROOT), {"vars": ["params.yaml"], "stages": PIPELINE}).resolve()["stages"]


def tracked(resolved):
    return {name for stage in resolved.values() for name in stage.get("params", [])}


def shaping():
    """Values that the pipeline's own templates read: they decide which stages there are and what these depend on."""
    return set(re.findall(r"\$\{([\w.]+)\}", (ROOT / "dvc.yaml").read_text(encoding="utf-8")))


def covers(name, key):
    return key == name or key.startswith(f"{name}.")


def depends(stage, folder):
    return any(folder == dep or folder.startswith(f"{dep}/") for dep in stage["deps"])


def test_every_phase_has_its_stage_and_every_fit_stage_a_phase():
    called = [body(stage)["cmd"].split()[4:6] for stage in PIPELINE if stage.startswith("fit-")]
    assert {tuple(words) for words in called} == {(name, phase) for name in STUDIES for phase in PHASES[name]}


@pytest.mark.parametrize("stage", PIPELINE)
def test_a_stage_calls_a_verb_that_exists(stage):
    words = body(stage)["cmd"].split()
    assert words[:3] == ["python", "-m", "medtransfer"]
    filled = [word.replace("${item.after}", "none").replace("${item.chain}", "none") for word in words[3:]]
    build_parser().parse_args(["x" if word.startswith("$") else word for word in filled])


@pytest.mark.parametrize("stage", [stage for stage in PIPELINE if stage.startswith("fit-")])
def test_a_fit_depends_on_all_the_code_that_it_runs(stage, sources):
    others = {name for name in STUDIES if name != stage.split("-")[1]}
    called = closure(sources, "medtransfer.stages.fit")
    own = {m for m in called if not any(m.startswith(f"medtransfer.studies.{other}") for other in others)}
    assert own
    assert not uncovered(stage, own)


@pytest.mark.parametrize("stage", [stage for stage in PIPELINE if not stage.startswith("fit-")])
def test_a_stage_depends_on_the_rooms_that_it_calls(stage, sources):
    """Rooms named by the stage's own module; of the study it only takes names of folders, of the loop only printing."""
    called = sources.inner(f"medtransfer.stages.{build_parser_stage(stage)}") - {PRINTING}
    assert not uncovered(stage, {other for other in called if room(other) not in GLUE | {"studies"}})


def uncovered(stage, modules):
    """Modules that no code dependency of the stage covers; add their rooms under src/medtransfer/ to its deps."""
    return sorted(other for other in modules if not is_covered(other, code_deps(stage)))


def build_parser_stage(stage):
    words = ["x" if word.startswith("$") else word for word in body(stage)["cmd"].split()[3:]]
    return build_parser().parse_args(words).stage


@pytest.mark.parametrize("stage", [stage for stage in PIPELINE if stage.split("-")[0] in COMPUTES])
def test_a_stage_depends_on_the_study_s_module_that_computes_and_on_the_rooms_that_this_calls(stage, sources):
    verb, study_name = stage.split("-")
    called = re.search(r"studies\.\{options\.study\}\.(\w+)", sources.files[f"medtransfer.stages.{verb}"].read_text())
    module = f"medtransfer.studies.{study_name}.{called.group(1)}"
    wired = {f"medtransfer.studies.{study_name}.{name}" for name in NAMES}
    rooms = {other for other in sources.inner(module, types=False) - wired if room(other) not in GLUE}
    assert rooms
    assert not uncovered(stage, {module} | rooms)


@pytest.mark.parametrize("stage", PIPELINE)
def test_code_that_a_stage_depends_on_exists(stage):
    for dep in body(stage)["deps"]:
        assert not dep.startswith("src/") or (ROOT / dep).exists(), dep


@pytest.mark.parametrize("key", flatten(PARAMS))
def test_every_value_of_params_is_tracked_by_a_stage_that_names_it(key, resolved):
    """A whole section, as late stages track it, vouches for nothing once a stage tracks parts of it by name."""
    names = tracked(resolved) | shaping()
    sections = {name for name in names if name in PARAMS and any(other.startswith(f"{name}.") for other in names)}
    assert key in LATE or any(covers(name, key) for name in names - sections)


def test_every_tracked_name_exists_in_params(resolved):
    for name in tracked(resolved):
        node = PARAMS
        for part in name.split("."):
            assert part in node, name
            node = node[part]


def test_a_phase_tracks_its_own_values_and_no_other_phases():
    for phase in PHASES["attentive_transfer"]:
        params = body(f"fit-attentive_transfer-{phase}")["params"]
        assert f"attentive_transfer.{phase}" in params
        assert not {f"attentive_transfer.{other}" for other in PHASES["attentive_transfer"] if other != phase} & set(
            params
        )


def test_the_gate_stands_before_every_fit():
    for phase in PHASES["attentive_transfer"]:
        assert "out/gate.json" in body(f"fit-attentive_transfer-{phase}")["deps"]


@pytest.mark.parametrize("name", PARAMS["datasets"])
def test_the_gate_depends_on_every_data_set(name, resolved):
    assert depends(resolved["gate"], f"out/datasets/{name}")


def test_predictions_depend_on_every_data_set_that_they_are_made_for(resolved):
    config = PARAMS["attentive_transfer"]
    for name in (config["finetune"]["dataset"], *config["outside"]):
        assert depends(resolved["predict-attentive_transfer"], f"out/datasets/{name}")


def test_a_fit_depends_on_the_data_set_it_reads():
    for phase in PHASES["attentive_transfer"]:
        named = f"out/datasets/${{attentive_transfer.{phase}.dataset}}"
        assert named in body(f"fit-attentive_transfer-{phase}")["deps"]


def test_stages_write_where_the_study_reads():
    assert body("fit-attentive_transfer-finetune")["outs"][0].startswith(str(study.finetuned_folder("x", "y").parent))
    assert body("fit-attentive_transfer-stl_n")["outs"][0].startswith(str(study.pretrained_folder("x", "y").parent))


def test_the_sample_stays_small(resolved):
    assert len(resolved) <= 60


def test_mlproject_has_the_verbs_and_main():
    project = yaml.safe_load((ROOT / "MLproject").read_text(encoding="utf-8"))
    verbs = next(a for a in build_parser()._actions if a.dest == "==SUPPRESS==" or a.choices).choices
    assert set(project["entry_points"]) == {"main", *verbs}
    assert (ROOT / project["conda_env"]).exists()
    for name, entry in project["entry_points"].items():
        assert name == "main" or f"-m medtransfer {name}" in entry["command"]
        assert set(entry.get("parameters", {})) == {p.split("}")[0] for p in entry["command"].split("{")[1:]}


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


def test_the_stages_together_reach_every_room(sources):
    reached = set().union(*(closure(sources, f"medtransfer.stages.{build_parser_stage(stage)}") for stage in PIPELINE))
    assert {room(module) for module in reached} >= {"data", "evaluation", "losses", "models", "ssl", "tracking"}
