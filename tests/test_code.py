"""Which code decides a result: closures of imports, hashes, and the tokens of the pipeline's stages."""

import shutil
import subprocess
import sys

import pytest

from medtransfer import code, studies
from medtransfer.stages.code import tokens

FIT = "fit-attentive_transfer-"
ATTENTIVE = tuple(studies.module("attentive_transfer", "study").PHASES)


@pytest.fixture(scope="module")
def written():
    return tokens()


def test_a_closure_holds_what_is_imported_directly_and_indirectly():
    modules = code.closure("medtransfer.ssl.methods")
    assert {"medtransfer.ssl.moco", "medtransfer.losses.contrastive"} <= modules
    assert "medtransfer.reporting.page" not in modules


def test_a_package_stands_for_all_of_its_modules():
    assert "medtransfer.losses.regions" in code.module_hashes(["medtransfer.losses"])


def test_imports_of_a_study_s_parameters_are_not_followed():
    modules = code.closure("medtransfer.studies.attentive_transfer.supervised")
    assert "medtransfer.studies.attentive_transfer.config" in modules
    assert "medtransfer.ssl.moco" not in modules


def test_wiring_and_tracking_decide_no_weight(written):
    modules = {module.split(".")[1] for module in written[f"{FIT}finetune"]}
    assert not modules & {"cli", "stages", "params", "paths", "tracking", "reporting"}


def test_every_fit_phase_and_verb_has_a_token(written):
    phases = {f"fit-{name}-{phase}" for name in studies.STUDIES for phase in studies.module(name, "study").PHASES}
    verbs = {f"{verb}-{name}" for verb in studies.VERBS for name in studies.with_verb(verb)}
    assert set(written) == {*phases, *verbs, "prepare", "gate", "overview"}


@pytest.mark.parametrize(
    ("module", "concerned"),
    [
        ("losses.regions", {f"{FIT}sstl_m", "explain-attentive_transfer"}),
        ("losses.contrastive", {f"{FIT}sstl_m"}),
        (
            "losses.classification",
            {f"{FIT}stl_n", f"{FIT}warm_up", f"{FIT}stl_m", f"{FIT}finetune"}
            | {f"fit-truncated_transfer-{phase}" for phase in ("pretrain", "finetune")}
            | {f"fit-multitask_vit-{phase}" for phase in ("corpus", "finetune")}
            | {"fit-visual_transfer-finetune"},
        ),
        ("studies.attentive_transfer.claims", {"report-attentive_transfer"}),
        ("studies.truncated_transfer.report.tables", {"report-truncated_transfer"}),
        ("data.recall", {"gate"}),
        ("data.phantom.natural", set()),
    ],
)
def test_an_edit_concerns_the_stages_that_use_the_module(module, concerned, written):
    assert {name for name, hashes in written.items() if f"medtransfer.{module}" in hashes} == concerned


@pytest.fixture
def copied(tmp_path):
    """A copy of the source, and the digest of some modules in it as another process computes it."""
    source = tmp_path / "src"
    shutil.copytree(code.Path(code.medtransfer.__file__).parent, source / "medtransfer")

    def digests(*groups):
        line = f"from medtransfer.code import digest; print(*map(digest, {groups!r}))"
        environment = {"PYTHONPATH": str(source), "PATH": ""}
        done = subprocess.run([sys.executable, "-c", line], env=environment, capture_output=True, text=True, check=True)
        return done.stdout.split()

    return source / "medtransfer", digests


def append(file):
    file.write_text(file.read_text(encoding="utf-8") + "\n# another line\n", encoding="utf-8")


def test_a_digest_follows_the_source_and_the_data_files_beside_it_and_nothing_else(copied):
    folder, digests = copied
    values = ["medtransfer.studies.attentive_transfer.paper.values"]
    before = digests(values)
    append(folder / "studies/attentive_transfer/README.md")
    append(folder / "studies/truncated_transfer/claims.py")
    assert digests(values) == before
    append(folder / "studies/attentive_transfer/paper/mstl_table2.csv")
    assert digests(values) != before
    before = digests(values)
    append(folder / "studies/attentive_transfer/paper/values.py")
    assert digests(values) != before


@pytest.mark.parametrize(
    ("edited", "concerned"),
    [
        ("studies/truncated_transfer/finetuning.py", {("truncated_transfer", "finetune")}),
        ("studies/truncated_transfer/predictions.py", set()),
        ("studies/attentive_transfer/self_supervised.py", {("attentive_transfer", "sstl_m")}),
        ("studies/attentive_transfer/config.py", {("attentive_transfer", phase) for phase in ATTENTIVE}),
    ],
)
def test_an_edit_leaves_the_resume_files_of_other_studies_and_phases_usable(edited, concerned, copied):
    """A fit is continued, or kept, under the digest of the code of its own phase."""
    folder, digests = copied
    fits = [(name, phase) for name in studies.STUDIES for phase in studies.module(name, "study").PHASES]
    groups = [studies.entries("fit", *fit) for fit in fits]
    before = digests(*groups)
    append(folder / edited)
    after = zip(fits, before, digests(*groups), strict=True)
    assert {fit for fit, old, new in after if new != old} == concerned
