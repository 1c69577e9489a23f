"""No name leads out of its folder: every verb with bad names, in a sandbox that is compared before and after."""

import argparse
import copy
import hashlib
import inspect
import os
import shutil
import subprocess
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import yaml
from PIL import Image

from medtransfer import paths
from medtransfer.cli import build_parser, run
from medtransfer.config import Name
from medtransfer.errors import ConfigError, DataError, MedTransferError
from medtransfer.files import new_folder, remove_made
from medtransfer.params import parse_params
from medtransfer.stages import workspace
from medtransfer.stages.unseen import scan_unseen

ROOT = Path(__file__).parent.parent
PARAMS = yaml.safe_load((ROOT / "params.yaml").read_text(encoding="utf-8"))
ABSOLUTE = "<absolute>"
"""Placeholder for a folder of the sandbox by its absolute path."""
BAD = (
    "",
    ".",
    "..",
    "../x",
    "../../x",
    "../../../x",
    ABSOLUTE,
    "a/b",
    "a/",
    "a\\b",
    "-x",
    ".hidden",
    "x.",
    "x\0y",
    "x\n",
    "x y",
    "é",
    "a" * 101,
    "a" * 300,
    "~",
    "$(x)",
    "con/../..",
)
VALUES = {
    "alias": "champion",
    "condition": "none",
    "dataset": "ct",
    "draws": "10",
    "allow_host": "localhost",
    "folder": "out",
    "host": "127.0.0.1",
    "megabytes": "16",
    "megabytes_waiting": "128",
    "port": "0",
    "seconds": "20",
    "waiting": "32",
    "batch": "16",
    "candidates": "resnet18",
    "data": "data/images.csv",
    "images": "data",
    "keep": "3",
    "layout": "imagefolder",
    "lr": "0.001",
    "name": "mine",
    "network": "resnet18",
    "on": "2026-03-01",
    "origin": "data/images",
    "override": "because",
    "phase": "finetune",
    "prevalence": "0.1",
    "profile": "paper",
    "register": "mine",
    "seed": "0",
    "seeds": "3",
    "size": "160",
    "source": "imagefolder",
    "start": "weights/resnet18.safetensors",
    "steps": "80",
    "storage": "postgresql+psycopg://localhost/tuning",
    "target": "label",
    "to": "phantoms",
    "trial": "1",
    "until": "0",
    "variant": "resnet18_attn0",
    "version": "1",
    "what": "covid-ct",
    "why": "because",
    "worker": "1",
    "workers": "1",
    "more": "scan.png",
    "study": "attentive_transfer",
    "targets": "overview",
}
"""A value for every argument without choices; the address of a model differs from verb to verb."""
MODEL = dict.fromkeys(("evaluate", "audit"), "models:/covid-ct@champion")
NO_NAME = {
    "allow_host": "a name of a host, compared with that of a request",
    "host": "an address",
    "megabytes": "a number",
    "megabytes_waiting": "a number",
    "more": "a path of the user, only read",
    "port": "a number",
    "seconds": "a number",
    "study": "a study, looked for in a list, or a path of the user, only read",
    "targets": "a stage, looked for by DVC",
    "waiting": "a number",
    "batch": "a number",
    "candidates": "names of networks, or a path of the user, only read",
    "data": "a path of the user, only read",
    "keep": "a number",
    "layout": "a layout, looked for in a list",
    "lr": "a number",
    "size": "a number",
    "start": "a path of the user, only read",
    "steps": "a number",
    "target": "a column, looked for in a table",
    "annotations": "a path of the user, only read",
    "draws": "a number",
    "folder": "a path of the user, only read",
    "images": "a path of the user, only read",
    "manifest": "a path of the user, only read",
    "on": "a date",
    "origin": "a path of the user, only read",
    "override": "free text",
    "out": "a path of the user; nothing in it is replaced that evaluate, audit, prevalence or predict did not make",
    "output": "a class or finding, looked for in a table",
    "positive": "a class",
    "predictions": "a path of the user, only read",
    "prevalence": "a number",
    "rename": "a class",
    "seed": "a number",
    "seeds": "a number",
    "set": "an option of a layout",
    "storage": "an address",
    "to": "a path of the user, which must be empty",
    "trial": "a number",
    "until": "a number",
    "version": "a number",
    "weights": "a path of the user, only read",
    "what": "a data set, model, run or hash that is looked for in the store",
    "why": "free text",
    "worker": "a number",
    "workers": "a number",
}
"""Arguments without choices that become no part of a path. Any other is tried with bad names."""
WITHOUT_PARAMS = {
    "audit",
    "code",
    "compare",
    "data",
    "doctor",
    "evaluate",
    "import",
    "lineage",
    "overview",
    "prevalence",
    "registry",
    "repro",
    "serve",
    "summary",
}
"""Verbs that do not read params.yaml, or only for a data set that is named."""
IN_USE = (
    "resnet18_attn0",
    "stl_n-stl_m-sstl_m",
    "tf_efficientnet_lite0.in1k_attn5",
    "resnet50_attn5-stl_n-stl_m-region_scale",
    "densenet121_t1-transfer",
    "tf_efficientnet_lite0_to_blocks.2-transfer",
    "cbr_tiny_w32_same-random",
    "covid_ct-tenth-tuned-trial0.0003",
    "covid_ct-tenth-tuned-trial1e-05",
    "rate1e+05",
    "real-cpu",
    "covid-ct",
    "x",
    "a" * 100,
)


def leaves(parser, words=()):
    """Yield every complete verb, with its actions' names, and the parser of its arguments."""
    inner = [action for action in parser._actions if isinstance(action, argparse._SubParsersAction)]
    for action in inner:
        for name, sub in action.choices.items():
            yield from leaves(sub, (*words, name))
    if not inner:
        yield words, parser


def arguments(parser):
    return [action for action in parser._actions if action.dest not in ("help", "version") or action.type]


def is_name(action):
    return action.choices is None and action.dest not in NO_NAME


def command(words, parser, tried=None, value=None):
    """A complete command line of a verb, with a value for one argument; alternatives to that one are left out."""
    exclusive = {a.dest: group for group in parser._mutually_exclusive_groups for a in group._group_actions}
    used, line = {exclusive.get(tried.dest)} if tried else set(), list(words)
    for action in arguments(parser):
        group = exclusive.get(action.dest)
        if action is tried:
            given = value
        elif action.dest == "more":  # further images, which predict takes with a model
            continue
        elif action.required or not action.option_strings or (group and group.required and group not in used):
            given = action.choices[0] if action.choices else VALUES.get(action.dest) or MODEL.get(words[0], "covid-ct")
            used.add(group)
        else:
            continue
        line.append(f"{action.option_strings[0]}={given}" if action.option_strings else given)
    return line


VERBS = dict(leaves(build_parser()))
TRIED = [(words, action.dest) for words, parser in VERBS.items() for action in arguments(parser) if is_name(action)]
READING = [words for words in VERBS if words[0] not in WITHOUT_PARAMS]


class Sandbox:
    """A small checkout with folders around and above it, all of which hold something to lose."""

    def __init__(self, top):
        self.top, self.checkout = top, top / "above" / "around" / "checkout"
        self.checkout.mkdir(parents=True)
        for name in ("params.yaml", "dvc.yaml", "profiles"):
            (shutil.copytree if (ROOT / name).is_dir() else shutil.copyfile)(ROOT / name, self.checkout / name)
        folders = [folder / "x" for folder in (self.checkout, *self.checkout.parents) if folder.is_relative_to(top)]
        folders += [
            self.checkout / name for name in (".git", ".dvc", "src", "metrics", "out/datasets", "out/x", "datasets")
        ]
        for folder in (*folders, top / "absolute"):
            folder.mkdir(parents=True)
            (folder / "keep.txt").write_text("keep")
        for number in range(12):
            grey = np.random.default_rng(number).integers(0, 256, (16, 16), dtype=np.uint8)
            file = self.checkout / "data" / "images" / "ab"[number % 2] / f"{number}.png"
            file.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(grey).save(file)
        self.params = copy.deepcopy(PARAMS)
        self.params["datasets"]["ct"] = {
            "source": {"name": "imagefolder", "root": "data/images"},
            "pack": {"size": 8},
        }
        self.write(self.params)

    def write(self, params):
        (self.checkout / "params.yaml").write_text(yaml.safe_dump(params, sort_keys=False), encoding="utf-8")

    def resolved(self, name):
        return str(self.top / "absolute") if name == ABSOLUTE else name

    def tree(self):
        """All folders, links and files by path, files with the hash of their bytes."""
        entries = {}
        for folder, folders, files in os.walk(self.top):
            for path in (Path(folder) / name for name in (*folders, *files)):
                kind = str(path.readlink()) if path.is_symlink() else "" if path.is_dir() else digest(path)
                entries[str(path.relative_to(self.top))] = (path.lstat().st_mode, kind)
        return entries


def digest(path):
    return hashlib.sha256(path.read_bytes()).hexdigest()


@pytest.fixture
def sandbox(tmp_path, monkeypatch):
    sandbox = Sandbox(tmp_path / "sandbox")
    monkeypatch.chdir(sandbox.checkout)
    for name in ("DVC_ROOT", "MLFLOW_TRACKING_URI"):
        monkeypatch.delenv(name, raising=False)
    return sandbox


def refused(line, sandbox, capsys, before=None):
    """Run a command line that must refuse with one line and leave everything as it was; return what it says."""
    before = before or sandbox.tree()
    capsys.readouterr()
    try:
        code = run(line)
        *progress, message = capsys.readouterr().err.splitlines()
        assert message.startswith("medtransfer: "), (line, message)
        assert not progress or line == ["check"], (line, progress)
    except SystemExit as stop:  # argparse itself: a name that begins with '-' is taken for an option
        code, message = stop.code, capsys.readouterr().err
    assert code == 2, (line, message)
    assert sandbox.tree() == before, line
    return message


def test_every_argument_of_every_verb_is_a_choice_a_known_other_thing_or_tried_here():
    destinations = {action.dest for parser in VERBS.values() for action in arguments(parser) if not action.choices}
    new = destinations - VALUES.keys() - NO_NAME.keys() - {"model"}
    assert not new, f"new arguments {new}: give each a value in VALUES, and list it in NO_NAME if it is no name"
    assert {words[0] for words in VERBS} == set(next(a for a in build_parser()._actions if a.choices).choices)
    for words, parser in VERBS.items():
        build_parser().parse_args(command(words, parser))


@pytest.mark.parametrize(("words", "dest"), TRIED, ids=[" ".join((*words, dest)) for words, dest in TRIED])
def test_a_bad_name_is_refused_by_every_verb(words, dest, sandbox, capsys):
    parser, before = VERBS[words], sandbox.tree()
    tried = next(action for action in arguments(parser) if action.dest == dest)
    for bad in map(sandbox.resolved, BAD):
        forms = [bad]
        if words[0] in MODEL and dest == "model":
            forms += [
                f"models:/{bad}@champion",
                f"models:/{bad}/1",
                f"models:/covid-ct@{bad}",
                f"models:/covid-ct/{bad}",
            ]
        for form in forms:
            refused(command(words, parser, tried, form), sandbox, capsys, before)


def put(tree, path, bad):
    """Plant a name: as a key in the place of the last part (``key:``), first in a list, or as the value."""
    *parents, last = path.removeprefix("key:").split(".")
    for part in parents:
        tree = tree[part]
    if path.startswith("key:"):
        tree[bad] = tree.pop(last)
    elif isinstance(tree[last], list):
        tree[last] = [bad, *tree[last]]
    else:
        tree[last] = bad


PLACES = (
    "key:datasets.ct",
    "key:attentive_transfer.recipes.moco",
    "key:truncated_transfer.tasks.covid_ct",
    "key:truncated_transfer.regimes.tenth",
    "key:truncated_transfer.start.densenet121",
    "attentive_transfer.networks",
    "attentive_transfer.chains",
    "attentive_transfer.stl_m_after",
    "attentive_transfer.sstl_m_after",
    "attentive_transfer.methods",
    "attentive_transfer.methods_after",
    "attentive_transfer.model",
    "attentive_transfer.outside",
    "attentive_transfer.stl_n.dataset",
    "attentive_transfer.stl_m.dataset",
    "attentive_transfer.sstl_m.dataset",
    "attentive_transfer.finetune.dataset",
    "truncated_transfer.variants",
    "truncated_transfer.tasks.covid_ct.dataset",
    "truncated_transfer.pretrain.dataset",
    "registry.alias",
    "key:tuning.cut",
    "tuning.cut.study",
)


@pytest.mark.parametrize("place", PLACES)
def test_a_bad_name_in_the_parameters_is_refused_by_its_place(place, sandbox):
    for bad in map(sandbox.resolved, BAD):
        params = copy.deepcopy(sandbox.params)
        put(params, place, bad)
        with pytest.raises(ConfigError) as error:
            parse_params(params)
        message = str(error.value)
        assert message.isprintable(), message
        assert f"params.yaml: {place.removeprefix('key:').rpartition('.')[0]}" in message
        assert "not a plain name, expected letters" in message


@pytest.mark.parametrize("bad", BAD)
def test_a_data_set_with_a_bad_name_is_not_prepared(bad, sandbox, capsys):
    """Where the name leads there may be a folder to replace, and there are images to pack."""
    bad = sandbox.resolved(bad)
    put(sandbox.params, "key:datasets.ct", bad)
    sandbox.write(sandbox.params)
    refused(["prepare", bad], sandbox, capsys)
    assert "params.yaml: datasets." in refused(["prepare", "ct"], sandbox, capsys)


@pytest.mark.parametrize("place", PLACES)
def test_a_planted_name_is_refused_by_the_command_line(place, sandbox, capsys):
    put(sandbox.params, place, "../../x")
    sandbox.write(sandbox.params)
    assert "not a plain name" in refused(["check"], sandbox, capsys)


@pytest.mark.parametrize("words", READING, ids=" ".join)
def test_every_verb_that_reads_parameters_refuses_a_planted_name(words, sandbox, capsys):
    """A verb that does not read params.yaml belongs into WITHOUT_PARAMS."""
    put(sandbox.params, "key:datasets.ct", "../../x")
    sandbox.write(sandbox.params)
    message = refused(command(words, VERBS[words]), sandbox, capsys)
    assert "not a plain name" in message


@pytest.mark.parametrize("line", [["check"], ["workspace", "mine", "--profile", "evil"]], ids=" ".join)
def test_a_bad_base_of_a_profile_is_refused(line, sandbox, capsys):
    outside = sandbox.checkout.parent / "x.yaml"
    outside.write_text("profile: outside\n")
    for bad in ["../../x", *map(sandbox.resolved, BAD)]:
        (sandbox.checkout / "profiles/evil.yaml").write_text(yaml.safe_dump({"base": bad}), encoding="utf-8")
        assert "not a plain name" in refused(line, sandbox, capsys)


@pytest.mark.parametrize("name", IN_USE)
def test_names_in_use_are_plain(name):
    assert paths.plain_name(name, "name") == name
    assert paths.dataset(name) == Path("out/datasets") / name


OF_ONE_NAME = (
    paths.dataset,
    paths.study_folder,
    paths.results,
    paths.explanations,
    paths.audit,
    paths.audit_report,
    paths.card,
    paths.metrics,
    paths.report,
    paths.code_token,
    paths.gate_dataset,
    paths.gate_chain,
    paths.gate_study,
    paths.looks,
    paths.tuning,
    paths.tuning_report,
)


def test_every_path_that_is_made_of_names_is_tried_here():
    functions = {
        name for name, value in vars(paths).items() if inspect.isfunction(value) and value.__module__ == paths.__name__
    }
    rule = {"is_plain", "plain_name", "below", "workspace", "_of_variant"}
    of_several = {
        "weights_folder",
        "records_folder",
        "scratch_folder",
        "fetched_model",
        "workspace_folder",
        "profile_file",
    }
    assert functions - rule - of_several == {make.__name__ for make in OF_ONE_NAME}


@pytest.mark.parametrize("bad", BAD)
def test_no_path_is_made_of_a_bad_name(bad, tmp_path):
    parts = {"study": "study", "folder": "pretrain", "variant": "network", "condition": "none"}
    fits = [paths.FitPaths(**(parts | {part: bad}), seed=0) for part in parts]
    made = [
        lambda: paths.below(tmp_path, bad, "thing"),
        lambda: paths.fetched_model(bad, 1),
        lambda: paths.workspace_folder(tmp_path, bad),
        lambda: paths.profile_file(tmp_path, bad),
        lambda: paths.weights_folder("study", "pretrain", bad),
        lambda: paths.records_folder("study", bad, "network"),
        lambda: paths.scratch_folder(bad, "pretrain", "network"),
        *(partial(make, bad) for make in OF_ONE_NAME),
        *(partial(getattr, fit, place) for fit in fits for place in ("weights", "records", "scratch")),
    ]
    for make in made:
        with pytest.raises(ConfigError, match="not a plain name, expected letters"):
            make()


def test_the_type_and_the_rule_are_one():
    from pydantic import TypeAdapter, ValidationError

    adapter = TypeAdapter(Name)
    assert [adapter.validate_python(name) for name in IN_USE] == list(IN_USE)
    for bad in BAD:
        with pytest.raises(ValidationError):
            adapter.validate_python(bad)


@pytest.mark.parametrize("others", [False, True])
@pytest.mark.parametrize("failing", [1, 2, 3])
def test_a_workspace_that_fails_half_way_leaves_everything_else(failing, others, sandbox, capsys, monkeypatch):
    (sandbox.checkout / "workspaces").mkdir()
    if others:
        (sandbox.checkout / "workspaces/other").mkdir()
        (sandbox.checkout / "workspaces/other/keep.txt").write_text("keep")
    calls = []

    def dvc(command, **options):
        calls.append(command)
        return subprocess.CompletedProcess(command, int(len(calls) == failing), stdout="", stderr="ERROR: no room\n")

    monkeypatch.setattr(workspace.subprocess, "run", dvc)
    message = refused(["workspace", "mine", "--profile", "paper"], sandbox, capsys)
    assert "workspace mine: dvc " in message
    assert "ERROR: no room" in message
    assert len(calls) == failing


@pytest.mark.parametrize("place", ["elsewhere", "nowhere"])
def test_a_workspace_that_is_a_link_is_left_alone(place, sandbox, capsys):
    elsewhere = sandbox.top / "elsewhere"
    elsewhere.mkdir()
    (sandbox.checkout / "workspaces").mkdir()
    (sandbox.checkout / "workspaces/mine").symlink_to(sandbox.top / place)
    assert "exists already" in refused(["workspace", "mine", "--profile", "paper"], sandbox, capsys)


@pytest.mark.parametrize("entry", ["notes.txt", "images.npy", "own/keep.txt"])
def test_packing_replaces_no_folder_that_holds_something_else(entry, sandbox, capsys):
    file = sandbox.checkout / "out/datasets/ct" / entry
    file.parent.mkdir(parents=True)
    file.write_text("mine")
    assert "out/datasets/ct: holds " in refused(["prepare", "ct"], sandbox, capsys)


def test_packing_replaces_a_packed_data_set_but_nothing_beside_it(sandbox, capsys):
    target = sandbox.checkout / "out/datasets/ct"
    target.mkdir()
    for _ in range(2):  # an empty folder, then a data set
        assert run(["prepare", "ct"]) == 0, capsys.readouterr().err
        assert sorted(file.name for file in target.iterdir()) == ["dataset.json", "images.npy", "manifest.parquet"]
        assert sorted(file.name for file in target.parent.iterdir()) == ["ct", "keep.txt"]
    (target / "notes.txt").write_text("mine")
    assert "out/datasets/ct: holds 'notes.txt'" in refused(["prepare", "ct"], sandbox, capsys)


def test_packing_follows_no_link(sandbox, capsys):
    assert run(["prepare", "ct"]) == 0, capsys.readouterr().err
    target, elsewhere = sandbox.checkout / "out/datasets/ct", sandbox.top / "elsewhere"
    target.rename(elsewhere)
    target.symlink_to(elsewhere)
    assert "out/datasets/ct: a link or a file" in refused(["prepare", "ct"], sandbox, capsys)


def test_evaluation_writes_over_nothing_that_comes_from_no_evaluation(sandbox, capsys):
    line = ["evaluate", "--model", "models:/covid-ct@champion", "--images", "data/images", "--out", "mine"]
    (sandbox.checkout / "mine").mkdir()
    for name, text in (("report.md", "# Mine"), ("metrics.json", "[1]"), ("metrics.json", '{"metrics": 1}')):
        (sandbox.checkout / "mine" / name).write_text(text)
        assert "not from an evaluation" in refused(line, sandbox, capsys)


def test_adding_copies_no_file_to_a_place_outside_of_the_copy(sandbox, capsys):
    (sandbox.checkout / "data/labels.csv").write_text("image,label\na/0.png,a\nb/1.png,b\n")
    line = ["data", "add", "csv", "--from", "data/images", "--name", "mine", "--set", "table=../labels.csv"]
    assert "'../labels.csv' is outside the data set's folder" in refused(line, sandbox, capsys)


@pytest.mark.parametrize("rename", ["../x=a", f"{ABSOLUTE}=a", "a/../../x=a", "a=../x", "a=/x"])
def test_a_renamed_folder_and_its_class_stay_in_their_place(rename, sandbox):
    options = argparse.Namespace(
        manifest=None, images=Path("data/images"), rename=[rename.replace(ABSOLUTE, str(sandbox.top / "absolute"))]
    )
    with pytest.raises(MedTransferError, match=r"rename|class"):
        scan_unseen(options, {"a", "b"})


def test_images_that_a_table_names_outside_of_its_folder_are_left_out(sandbox):
    inside = (sandbox.checkout / "data/images/a/0.png").read_bytes()
    for place in (sandbox.checkout / "outside.png", sandbox.top / "absolute/outside.png"):
        place.write_bytes(inside)
    (sandbox.checkout / "data/images/link.png").symlink_to(sandbox.top / "absolute/outside.png")
    listed = ("../../outside.png", "a/../../../outside.png", str(sandbox.top / "absolute/outside.png"), "link.png")
    table = "\n".join(["image,label", *(f"{path},a" for path in listed), "a/0.png,a"])
    (sandbox.checkout / "data/images/t.csv").write_text(table)
    options = argparse.Namespace(manifest=Path("data/images/t.csv"), images=None, rename=[])
    _, scan = scan_unseen(options, {"a", "b"})
    assert [row["path"] for row in scan.rows] == ["a/0.png"]
    assert len(scan.skipped) == len(listed)
    assert all("data set's folder" in each.reason for each in scan.skipped)


def test_a_new_folder_is_whole_or_absent_and_replaces_what_is_ours_alone(tmp_path):
    target = tmp_path / "made"
    with pytest.raises(ZeroDivisionError), new_folder(target, made=["a"]) as folder:
        (folder / "a").write_text(str(1 / 0))
    assert list(tmp_path.iterdir()) == []
    for text in ("old", "new"):
        with new_folder(target, made=["a"]) as folder:
            (folder / "a").write_text(text)
    assert (target / "a").read_text() == "new"
    (tmp_path / "plain").mkdir()
    assert target.stat().st_mode == (tmp_path / "plain").stat().st_mode
    (tmp_path / "plain").rmdir()
    with pytest.raises(DataError, match="holds 'b'"), new_folder(target, made=["a"]) as folder:
        (target / "b").touch()  # while ours is made
    assert sorted(file.name for file in target.iterdir()) == ["a", "b"]
    assert list(tmp_path.iterdir()) == [target]


def test_a_folder_is_deleted_only_when_all_of_it_is_ours(tmp_path):
    folder = tmp_path / "folder"
    remove_made(folder, ["a"])
    folder.mkdir()
    (folder / "a").touch()
    with pytest.raises(DataError, match="holds 'a' but no mark, so it is not replaced"):
        remove_made(folder, ["a", "mark"], mark="mark")
    link = tmp_path / "link"
    link.symlink_to(folder)
    for other in (link, folder / "a"):
        with pytest.raises(DataError, match="a link or a file"):
            remove_made(other, ["a"])
    remove_made(folder, ["a"])
    assert not folder.exists()
