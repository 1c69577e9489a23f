"""``workspace --data``: params.yaml and pipeline with only what a question about own images needs, checked first."""

import csv

import pytest
import yaml

from medtransfer.cli import build_parser, run
from medtransfer.comparing.workspace import params_text, params_tree, pipeline
from medtransfer.params import parse_params
from medtransfer.stages.own_data import wanted
from medtransfer.studies import STUDIES

PATIENTS = 24
BINARY = ["--task", "binary", "--positive", "ill"]


@pytest.fixture
def own(checkout_copy):
    """A table in the checkout; what is in the images does not matter before the first stage."""
    (checkout_copy / "mine").mkdir()
    with (checkout_copy / "mine" / "my.csv").open("w", newline="", encoding="utf-8") as handle:
        writer = csv.writer(handle)
        writer.writerow(["image", "patient_id", "label", "age"])
        for patient in range(PATIENTS):
            (checkout_copy / "mine" / f"{patient}.png").touch()
            writer.writerow([f"{patient}.png", f"p{patient}", ("ill", "well")[patient % 2], 30 + patient])
    return checkout_copy


@pytest.fixture
def weights(own):
    """Random weights of a light network as timm stores them."""
    import timm
    from safetensors.torch import save_file

    (own / "weights").mkdir()
    save_file(timm.create_model("resnet10t").state_dict(), own / "weights" / "resnet10t.a1.safetensors")


def words(*more):
    return ["workspace", "mine", "--csv", "mine/my.csv", "--size", "64", *more]


def tree_of(*more):
    return params_tree(wanted(build_parser().parse_args(words(*more))))


def stages_of(folder, tree):
    stages = yaml.safe_load((folder / "dvc.yaml").read_text(encoding="utf-8"))["stages"]
    return pipeline(stages, tree, STUDIES)


def resolved(folder, tree):
    """The stages as DVC itself runs them."""
    from dvc.parsing import DataResolver
    from dvc.repo import Repo

    (folder / "params.yaml").write_text(yaml.safe_dump(tree), encoding="utf-8")
    with Repo(str(folder), uninitialized=True) as repo:
        lines = {"vars": ["params.yaml"], "stages": stages_of(folder, tree)}
        return DataResolver(repo, str(folder), lines).resolve()["stages"]


def test_ready_made_weights_need_one_data_set_and_one_study(own, weights):
    tree = tree_of(*BINARY, "--network", "resnet10t_to_layer2")
    params = parse_params(tree)
    assert params.studies == ("truncated_transfer",)
    assert list(params.datasets) == ["mine"]
    assert params.dataset("mine").source.ignore == ("age",)
    assert params.pointers == {}
    config = params.study("truncated_transfer")
    assert config.variants == ("resnet10t_to_layer2-transfer",)
    assert config.tasks["mine"].positive == "ill"
    assert str(config.start["resnet10t"].path) == "weights/resnet10t.a1.safetensors"
    names = set(resolved(own, tree))
    assert {"prepare@mine", "gate", "fit-truncated_transfer-pretrain@resnet10t"} <= names
    assert "fit-truncated_transfer-finetune@resnet10t_to_layer2-transfer" in names
    assert not [name for name in names if "attentive" in name or "multitask" in name]


def test_random_weights_have_no_stage_before_fine_tuning(own):
    tree = tree_of(*BINARY, "--network", "resnet10t", "--chain", "none")
    stages = resolved(own, tree)
    assert not [name for name in stages if "pretrain" in name]
    assert not [dep for stage in stages.values() for dep in stage["deps"] if "weights/pretrain" in dep]


def test_every_dependency_is_an_output_or_comes_with_the_workspace(own, weights):
    stages = resolved(own, tree_of(*BINARY, "--network", "resnet10t"))
    outs = [out for stage in stages.values() for out in (*stage.get("outs", ()), *stage.get("metrics", ()))]
    made = [out if isinstance(out, str) else next(iter(out)) for out in outs]
    given = ("src/medtransfer", "mine")
    loose = {
        dep for stage in stages.values() for dep in stage["deps"]
        if dep not in given and not any(dep.startswith(out) or out.startswith(dep) for out in made)
    }  # fmt: skip
    assert not loose


def test_every_section_has_a_comment_and_reads_back(own):
    tree = tree_of(*BINARY, "--network", "resnet10t", "--chain", "none")
    asked = wanted(build_parser().parse_args(words(*BINARY, "--network", "resnet10t", "--chain", "none")))
    text = params_text(tree, asked.question)
    assert yaml.safe_load(text) == yaml.safe_load(yaml.safe_dump(tree))
    lines = text.splitlines()
    for number, line in enumerate(lines):
        if line and not line.startswith((" ", "#", "-")):
            assert lines[number - 1].startswith("# "), line


@pytest.mark.parametrize(
    ("more", "text"),
    [
        (["--network", "resnet10t", "--chain", "none"], "recognised, not confirmed: label: binary"),
        ([*BINARY], "which network? Give --network"),
        ([*BINARY, "--network", "resnet10t"], "no weights of resnet10t in weights/; name a file with --start"),
        ([*BINARY, "--network", "resnet10t", "--start", "absent.pth"], "no weights at absent.pth"),
        ([*BINARY, "--network", "nonet", "--chain", "none"], "nonet"),
        ([*BINARY, "--network", "resnet10t_attn1", "--chain", "none"], "ATTN layers are compared along chains"),
        (
            ["--target", "age", "--task", "regression", "--network", "resnet10t", "--chain", "none"],
            "a workspace reads classes from the column label",
        ),
    ],
)
def test_what_is_wrong_is_said_before_anything_is_written(more, text, own, capsys):
    assert run(words(*more)) == 2
    assert text in capsys.readouterr().err
    assert not (own / "workspaces").exists()


def test_a_study_without_a_section_cannot_be_asked_for(own, capsys):
    tree = tree_of(*BINARY, "--network", "resnet10t", "--chain", "none")
    (own / "params.yaml").write_text(yaml.safe_dump(tree), encoding="utf-8")
    assert run(["fit", "attentive_transfer", "finetune", "all"]) == 2
    assert "attentive_transfer: no section in params.yaml; there are truncated_transfer" in capsys.readouterr().err


@pytest.mark.slow
def test_the_workspace_is_made_whole(own, capsys):
    assert run(words(*BINARY, "--network", "resnet10t", "--chain", "none")) == 0
    assert "next: cd workspaces/mine && dvc repro report@truncated_transfer" in capsys.readouterr().out
    params = parse_params(yaml.safe_load((own / "workspaces/mine/params.yaml").read_text(encoding="utf-8")))
    assert str(params.dataset("mine").source.root) == "../../mine"
