"""``check`` passes what would run: networks, classes, data sets, files and searches exist."""

from pathlib import Path

import pytest
import yaml

from medtransfer.cli import run

STUDY = "attentive_transfer"
ROOT = Path(__file__).parents[2]


@pytest.fixture
def project(toy):
    """A study on data that are here; the other studies read nothing and are left out by the profile."""
    toy.draw()
    (toy.folder / "profiles").mkdir()
    (toy.folder / "profiles/toy.yaml").write_text(f"repro: [report@{STUDY}]\n", encoding="utf-8")
    toy.params |= {"profile": "toy", "tuning": {}}
    toy.write_params()
    return toy


def lines(capsys, code=2):
    capsys.readouterr()
    assert run(["check"]) == code
    return [line for line in capsys.readouterr().err.splitlines() if line.startswith("medtransfer: ")]


def test_parameters_whose_study_can_run_pass(project, capsys):
    assert lines(capsys, code=0) == []


FAULTS = {
    "network": (("networks", ["resnet19_attn1"]), "variant 'resnet19_attn1': network 'resnet19' is not known to timm"),
    "class": (
        ("positive", "ill"),
        "attentive_transfer.positive: 'ill' is no class of data set 'ct'; there are non-cov",
    ),
    "data set": (("outside", ["mri"]), "attentive_transfer.outside: 'mri' is not a data set; there are ct"),
    "weights": (
        ("start", {"kind": "file", "path": "weights/none.safetensors"}),
        "attentive_transfer.start.path: weights/none.safetensors: no such file; put the weights there",
    ),
}


@pytest.mark.parametrize(("change", "said"), FAULTS.values(), ids=FAULTS)
def test_what_does_not_exist_is_one_line(project, capsys, change, said):
    project.params[STUDY][change[0]] = change[1]
    project.write_params()
    (line,) = lines(capsys)
    assert f"params.yaml: {STUDY}" in line
    assert said in line


@pytest.mark.parametrize(("key", "name"), [("metric", "val/aurok"), ("metric", "auroc"), ("tie", "val/top")])
def test_a_selection_by_a_metric_that_nothing_computes(project, capsys, key, name):
    selection = project.params[STUDY]["finetune"]["train"]["selection"]
    selection[key] = name
    project.write_params()
    (line,) = lines(capsys)
    place = f"params.yaml: {STUDY}.finetune.train.selection.{key}"
    assert line.startswith(f"medtransfer: {place}: {name!r} is no metric, expected val/ and one of auroc, auprc, ")


def test_a_search_for_a_metric_that_nothing_computes(project, capsys):
    shipped = yaml.safe_load((ROOT / "params.yaml").read_text(encoding="utf-8"))["tuning"]
    name, search = next((name, each) for name, each in shipped.items() if each["study"] == STUDY)
    search["objectives"] = [{"metric": "val/aurok"}]
    project.params["tuning"] = {name: search}
    project.write_params()
    assert any(f"tuning.{name}.objectives" in line and "'val/aurok' is no metric" in line for line in lines(capsys))


def test_a_data_root_that_is_absent_and_an_exclusion_that_names_nothing(project, capsys):
    project.params["datasets"]["ct"]["exclude"] = ["images/none.png"]
    project.write_params()
    assert "datasets.ct.exclude: images/none.png is not an image of it" in lines(capsys)[0]
    project.params["datasets"]["ct"]["source"]["root"] = "data/gone"
    project.write_params()
    assert "datasets.ct.source.root: data/gone: no such folder; dvc pull data.dvc" in lines(capsys)[0]


def test_tasks_that_name_absent_data_sets_and_several_faults_are_a_line_each(project, capsys):
    (project.folder / "profiles/toy.yaml").write_text("repro: [report@truncated_transfer]\n", encoding="utf-8")
    project.params["truncated_transfer"]["tasks"] = {
        "a": {"dataset": "mri", "positive": "covid"},
        "b": {"dataset": "ct", "positive": "ill"},
        "c": {"dataset": "ct", "findings": ["edema"]},
    }
    project.params["truncated_transfer"]["variants"] = ["densenet121_to_nowhere-random", "resnet18-random"]
    project.write_params()
    said = "\n".join(lines(capsys))
    for part in ("tasks.a.dataset: 'mri'", "tasks.b.positive: 'ill'", "tasks.c.findings: 'edema'", "'nowhere'"):
        assert part in said
    assert "truncated_transfer.pretrain.dataset: 'natural' is not a data set" in said
    assert len(said.splitlines()) == 5


def test_data_of_a_profile_need_not_be_here_but_its_networks_must_exist(project, capsys):
    (project.folder / "profiles/toy.yaml").write_text(
        yaml.safe_dump(
            {
                "repro": [f"report@{STUDY}"],
                "datasets": {"ct": {"source": {"root": "datasets/elsewhere"}}},
                STUDY: {"networks": ["resnet18_attn5"]},
            }
        ),
        encoding="utf-8",
    )
    capsys.readouterr()
    assert run(["check"]) == 0
    assert "profiles/toy.yaml: valid; not here yet: datasets/elsewhere" in capsys.readouterr().err
    (project.folder / "profiles/toy.yaml").write_text(f"{STUDY}: {{networks: [resnet19_attn5]}}\n", encoding="utf-8")
    assert any("profiles/toy.yaml: " in line and "'resnet19'" in line for line in lines(capsys))


def test_a_workspace_of_a_network_that_does_not_exist_is_not_begun(checkout_copy, capsys):
    profile = f"base: real-cpu\n{STUDY}: {{networks: [resnet19_attn0]}}\n"
    (checkout_copy / "profiles/wrong.yaml").write_text(profile, encoding="utf-8")
    assert run(["workspace", "mine", "--profile", "wrong"]) == 2
    assert "'resnet19' is not known to timm" in capsys.readouterr().err
    assert not (checkout_copy / "workspaces").exists()


def test_without_a_profile_a_study_that_reads_none_of_the_data_sets_is_left_out_by_name(project, capsys):
    project.params["profile"] = "sample"
    for study in ("truncated_transfer", "visual_transfer"):
        project.params.pop(study)
    project.write_params()
    capsys.readouterr()
    run(["check"])
    said = capsys.readouterr().err
    assert "multitask_vit: left out, none of its data sets is in params.yaml" in said
    assert "params.yaml: multitask_vit" not in said
