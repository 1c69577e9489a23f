"""params.yaml and the profiles parse; every mistake in them is one line that says where, what, and what to do."""

import copy
import functools
import operator
from pathlib import Path

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from medtransfer.cli import run
from medtransfer.config import flatten
from medtransfer.data.sources.chexpert import FINDINGS as CHEXPERT_FINDINGS
from medtransfer.errors import ConfigError
from medtransfer.params import load_params, parse_params, read_tree
from medtransfer.profiles import overlay, targets, with_profile

ROOT = Path(__file__).parent.parent
TREE = yaml.safe_load((ROOT / "params.yaml").read_text(encoding="utf-8"))
PROFILES = sorted(file.stem for file in (ROOT / "profiles").glob("*.yaml"))
STUDY = "params.yaml: attentive_transfer"


def changed(path, value):
    tree, node, last = copied(path)
    node[last] = value
    return tree


def without(path):
    tree, node, last = copied(path)
    del node[last]
    return tree


def copied(path):
    """A copy of the shipped parameters, the mapping in it that holds the last key of a path, and that key."""
    tree = copy.deepcopy(TREE)
    *parents, last = path.split(".")
    return tree, functools.reduce(operator.getitem, parents, tree), last


def misspelt(path, wrong):
    tree = without(path)
    node = tree
    for part in path.split(".")[:-1]:
        node = node[part]
    node[wrong] = 1
    return tree


def test_the_shipped_parameters_parse():
    assert load_params(ROOT / "params.yaml").profile == "sample"


@pytest.mark.parametrize("profile", PROFILES)
def test_every_profile_parses_over_the_shipped_parameters(profile):
    params = parse_params(with_profile(ROOT, profile))
    assert params.profile == profile
    assert not any(dataset.phantoms for dataset in params.datasets.values())
    assert {str(dataset.pointer.parent) for dataset in params.datasets.values()} == {"datasets"}


@pytest.mark.parametrize("profile", PROFILES)
def test_a_profile_names_the_stages_of_the_one_study_that_it_is_made_for(profile):
    stages = yaml.safe_load((ROOT / "dvc.yaml").read_text(encoding="utf-8"))["stages"]
    stages_of_profile = targets(ROOT, profile)
    assert stages_of_profile[0].startswith("report@")
    assert set(stages_of_profile) <= {
        f"{stage}@{item}" for stage, entry in stages.items() for item in entry.get("foreach", ())
    }
    assert len({name.partition("@")[2] for name in stages_of_profile}) == 1
    assert "repro" not in with_profile(ROOT, profile)


@pytest.mark.parametrize("profile", [None, *PROFILES])
def test_names_that_become_stages_hold_no_at_sign(profile):
    """DVC joins a stage and its variant by one, and looks for the variant behind the last."""
    tree = with_profile(ROOT, profile) if profile else TREE
    attentive, truncated = tree["attentive_transfer"], tree["truncated_transfer"]
    lists = (value for study in (attentive, truncated) for value in study.values() if isinstance(value, list))
    names = [str(name) for values in (*lists, tree["datasets"], truncated["start"]) for name in values]
    assert len(names) > 10
    assert not [name for name in names if "@" in name]


def test_the_stable_profile_differs_from_the_paper_in_its_rates_alone():
    paper, stable = (flatten(with_profile(ROOT, name)) for name in ("paper", "paper-stable"))
    different = {key for key in paper.keys() | stable.keys() if paper.get(key) != stable.get(key)}
    phases = ("sstl_m", "recipes.image_scale", "recipes.region_scale", "finetune")
    leaves = ("lr", "reference_batch")
    rates = {f"attentive_transfer.{p}.train.optimizer.{leaf}" for p in phases for leaf in leaves}
    assert different == rates | {"profile"}
    params = parse_params(with_profile(ROOT, "paper-stable"))
    assert params.attentive_transfer.finetune.train.learning_rate == pytest.approx(0.03)


@pytest.mark.parametrize("profile", ["paper", "paper-stable", "real-cpu", "real-gpu"])
def test_one_branch_of_the_method_learns_as_the_whole_method_does(profile):
    study = parse_params(with_profile(ROOT, profile)).attentive_transfer
    for name, off in (("image_scale", {"alpha2": 0.0}), ("region_scale", {"alpha1": 0.0})):
        branch = study.recipes[name]
        assert branch.method == study.sstl_m.method.model_copy(update=off)
        assert (branch.train, branch.augment) == (study.sstl_m.train, study.sstl_m.augment)
    regions = study.recipes["region_scale"]
    same = ("boxes", "region_size", "region_augment")
    assert [getattr(regions, key) for key in same] == [getattr(study.sstl_m, key) for key in same]


@pytest.mark.parametrize("profile", ["real-cpu", "real-gpu"])
def test_compared_methods_have_the_same_budget(profile):
    study = parse_params(with_profile(ROOT, profile)).attentive_transfer
    assert all(study.recipes[name].train == study.sstl_m.train for name in study.methods)


@pytest.mark.parametrize("profile", ["paper", "real-cpu", "real-gpu"])
def test_moco_changes_the_light_of_every_view(profile):
    """He et al. 2020 jitter every view; the sample's share of one half must not weaken the baseline."""
    assert parse_params(with_profile(ROOT, profile)).attentive_transfer.recipes["moco"].augment.jitter_p == 1.0


def test_moco_v2_differs_from_moco_in_head_temperature_and_blur_alone():
    study = parse_params(with_profile(ROOT, "real-cpu")).attentive_transfer
    one, two = study.recipes["moco"], study.recipes["moco_v2"]
    assert two.method == one.method.model_copy(update={"head": "mlp", "temperature": 0.2})
    assert two.augment == one.augment.model_copy(update={"blur": 0.5})
    assert {"moco", "moco_v2"} <= set(study.methods)
    assert "stl_n-stl_m-moco_v2" in study.chains


def test_the_protocol_of_the_truncated_paper_is_a_profile():
    study = parse_params(with_profile(ROOT, "paper-truncated")).truncated_transfer
    train, variants = study.train, [study.variant(name) for name in study.variants]
    assert (train.optimizer.name, train.optimizer.lr, train.batch_size, train.epochs) == ("adam", 1e-5, 64, 200)
    assert (train.schedule.name, train.schedule.factor, train.selection.metric) == ("plateau", 0.5, "val/auprc")
    assert (study.protocols, len(study.seeds), study.augment.crop) == (("paper", "tuned"), 3, 224)
    assert {regime.share for regime in study.regimes.values()} == {1, 0.1, 0.05}
    cuts = {f"resnet50_t{n}" for n in range(1, 6)} | {f"densenet121_t{n}" for n in range(1, 4)}
    assert {variant.network for variant in variants if variant.strategy == "transfer"} == cuts | {
        "resnet50",
        "densenet121",
    }
    assert {variant.network for variant in variants if variant.strategy == "transfusion"} == {
        f"densenet121_s{n}" for n in (1, 2, 3)
    }
    assert study.tasks.keys() == {"chexpert", "pneumonia"}
    slugs = {name.lower().replace(" ", "_") for name in CHEXPERT_FINDINGS}
    assert set(study.tasks["chexpert"].findings) == slugs


def test_nothing_of_the_sample_is_left_in_the_papers_settings():
    params = parse_params(with_profile(ROOT, "paper"))
    rates = {
        phase: getattr(params.attentive_transfer, phase).train for phase in ("stl_n", "stl_m", "sstl_m", "finetune")
    }
    assert {p: (t.optimizer.name, t.optimizer.lr, t.epochs, t.batch_size) for p, t in rates.items()} == {
        "stl_n": ("sgd", 0.1, 90, 512),
        "stl_m": ("sgd", 0.0002, 30, 64),
        "sstl_m": ("sgd", 0.3, 200, 256),
        "finetune": ("sgd", 0.3, 200, 256),
    }
    assert rates["sstl_m"].clip_norm is None
    assert not any(train.schedule.warmup_steps for train in rates.values())


BAD = [
    (without("attentive_transfer.finetune.dataset"), f"{STUDY}.finetune.dataset: missing; add it"),
    (
        misspelt("attentive_transfer.seeds", "sedes"),
        f"{STUDY}.sedes: unknown key; did you mean seeds?",
    ),
    (
        changed("attentive_transfer.chains", ["sstl_m"]),
        f"{STUDY}: chains: no phase makes 'sstl_m'; there are ",
    ),
    (
        changed("attentive_transfer.sstl_m_after", ["stl_m"]),
        f"{STUDY}: sstl_m_after: no phase makes chain 'stl_m'; there are ",
    ),
    (
        changed("attentive_transfer.finetune.train.batch_size", 0),
        f"{STUDY}.finetune.train.batch_size: expected a number above 0 (found 0)",
    ),
    (
        changed("hardware.device", "tpu"),
        "params.yaml: hardware.device: expected 'auto', 'cpu' or 'cuda' (found 'tpu')",
    ),
    (
        changed("datasets.cxr.split", {"train": 0.9, "val": 0.2, "test": 0.1}),
        "params.yaml: datasets.cxr.split: train + val + test is 1.2, expected 1",
    ),
    ("datasets: [", "params.yaml: not valid YAML (line 1, column 12: "),
    ("a: 1\nb: 2\na: 3\n", "params.yaml: not valid YAML (line 3, column 1: the key 'a' occurs twice; remove one)"),
    ("a:\n  b: 2020-13-45\n", "params.yaml: not valid YAML (line 2, column 6: month must be in 1..12)"),
    ("a: " + "9" * 5000, "params.yaml: not valid YAML (line 1, column 4: Exceeds the limit"),
    ("[" * 2000, "params.yaml: not valid YAML (line 1, column 51: nested more than 50 levels deep)"),
    (b"a: 1\nb: caf\xe9\n", "params.yaml: line 2 is not UTF-8 text; save the file as UTF-8"),
    ("a: \x01", "params.yaml: not valid YAML (line 1 holds a control character)"),
    (
        "k0: &k0 [0, 0]\n" + "".join(f"k{i}: &k{i} [{', '.join([f'*k{i - 1}'] * 9)}]\n" for i in range(1, 30)),
        "params.yaml: not valid YAML (line 6, column 5: aliases stand for more than 100000 values",
    ),
    ("- 1", "params.yaml: expected a mapping at the top level"),
    (None, "params.yaml: not found in "),
]


@pytest.mark.parametrize(("content", "text"), BAD, ids=[text[:60] for _, text in BAD])
def test_a_mistake_is_one_line_and_exit_code_2(content, text, tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("DVC_ROOT", str(tmp_path))
    if content is not None:
        written = content if isinstance(content, (str, bytes)) else yaml.safe_dump(content)
        (tmp_path / "params.yaml").write_bytes(written.encode() if isinstance(written, str) else written)
    assert run(["check"]) == 2
    message = capsys.readouterr().err
    assert message.startswith(f"medtransfer: {text}")
    assert message.count("\n") == 1


def test_a_key_that_is_misspelt_in_six_places_is_six_short_lines(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("DVC_ROOT", str(tmp_path))
    wrong = (ROOT / "params.yaml").read_text(encoding="utf-8").replace("batch_size: ", "batch_sise: ")
    (tmp_path / "params.yaml").write_text(wrong, encoding="utf-8")
    assert run(["check"]) == 2
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == wrong.count("batch_sise") > 3
    assert all(line.endswith("batch_sise: unknown key; did you mean batch_size?") for line in lines)
    assert max(map(len, lines)) < 130


def test_yes_and_no_are_names_like_any_other_as_they_are_for_dvc(tmp_path):
    (tmp_path / "params.yaml").write_text("rename: {yes: ill, no: well, on: off}\ntrue: false\n", encoding="utf-8")
    assert read_tree(tmp_path / "params.yaml") == {"rename": {"yes": "ill", "no": "well", "on": "off"}, True: False}


def test_a_network_without_a_number_of_layers_is_refused():
    config = load_params(ROOT / "params.yaml").attentive_transfer
    with pytest.raises(
        ConfigError, match="network 'resnet50': expected <timm name>_attn<number>, for example resnet50_attn5"
    ):
        config.network("resnet50")


def test_a_data_set_that_does_not_exist_is_refused_with_those_that_do():
    with pytest.raises(ConfigError, match=r"datasets.mri: not a data set in params.yaml; there are natural, cxr, ct"):
        load_params(ROOT / "params.yaml").dataset("mri")


def test_an_unknown_profile_is_refused_with_those_that_exist():
    with pytest.raises(
        ConfigError,
        match=r"profile 'papr': there is no such file in profiles/; choose one of paper, paper-multitask, paper-stable",
    ):
        with_profile(ROOT, "papr")


def test_an_overlay_keeps_siblings_and_replaces_lists_whole():
    base = {"a": {"x": 1, "y": [1, 2]}, "b": 1}
    assert overlay(base, {"a": {"y": [3]}}) == {"a": {"x": 1, "y": [3]}, "b": 1}


def test_an_overlay_of_null_takes_a_mapping_away_and_empties_a_scalar():
    base = {"start": {"dense": {"kind": "train"}, "light": {"kind": "file"}}, "clip": 5.0}
    assert overlay(base, {"start": {"dense": None}, "clip": None}) == {
        "start": {"light": {"kind": "file"}},
        "clip": None,
    }


def test_a_profile_is_laid_over_its_base(tmp_path):
    (tmp_path / "profiles").mkdir()
    (tmp_path / "params.yaml").write_text("a: 1\nb: 1\nc: 1\n")
    (tmp_path / "profiles/low.yaml").write_text("b: 2\nc: 2\n")
    (tmp_path / "profiles/high.yaml").write_text("base: low\nc: 3\n")
    assert with_profile(tmp_path, "high") == {"a": 1, "b": 2, "c": 3, "profile": "high"}


def test_profiles_that_build_on_each_other_are_refused(tmp_path):
    (tmp_path / "profiles").mkdir()
    (tmp_path / "params.yaml").write_text("a: 1\n")
    (tmp_path / "profiles/one.yaml").write_text("base: two\n")
    (tmp_path / "profiles/two.yaml").write_text("base: one\n")
    with pytest.raises(ConfigError, match="profile 'one': its base is 'two', which builds on it"):
        with_profile(tmp_path, "one")


def test_an_overlay_of_another_kind_replaces_it_whole():
    base = {"optimizer": {"name": "adamw", "lr": 0.1, "betas": 2}}
    assert overlay(base, {"optimizer": {"name": "sgd", "lr": 1}}) == {"optimizer": {"name": "sgd", "lr": 1}}
    assert overlay(base, {"optimizer": {"name": "adamw", "lr": 1}})["optimizer"]["betas"] == 2


TREES = st.recursive(
    st.integers(), lambda inner: st.dictionaries(st.sampled_from("abc"), inner, max_size=3), max_leaves=8
)


@given(st.dictionaries(st.sampled_from("abc"), TREES), st.dictionaries(st.sampled_from("abc"), TREES))
def test_an_overlay_takes_every_scalar_of_the_top(base, top):
    merged = flatten(overlay(base, top))
    assert all(merged[key] == value for key, value in flatten(top).items() if value != {})
    assert overlay(merged, merged) == merged
