"""The command line: maps verbs to stages. Nothing heavy is imported before a verb runs.

Exit codes: 0 success, 1 a bug (with traceback), 2 an error that the user can fix (one line), 3 a gate is closed.
"""

import argparse
import errno
import importlib
import sys
from collections.abc import Sequence
from datetime import date
from pathlib import Path

from medtransfer import __version__
from medtransfer.errors import MedTransferError
from medtransfer.paths import plain_name
from medtransfer.studies import STUDIES, with_verb

NAMES = {
    "condition": "condition",
    "dataset": "data set",
    "name": "name",
    "network": "network",
    "phase": "phase",
    "profile": "profile",
    "register": "registered model",
    "source": "source",
    "variant": "variant",
}
"""Arguments that become part of a path → what they name; refused before a verb runs if they are not plain."""


FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
"""The disk, the share of a user, or the largest file is exhausted."""


def run(arguments: Sequence[str]) -> int:
    """Parse the arguments, run the verb's module and return the exit code."""
    options = build_parser().parse_args(arguments)
    try:
        _require_plain(options)
        stage = importlib.import_module(f"medtransfer.stages.{options.stage}")
        from medtransfer.training.progress import verb

        with verb(options.stage, arguments):
            stage.run(options)
    except MedTransferError as error:
        for line in str(error).splitlines():
            print(f"medtransfer: {line}", file=sys.stderr)  # noqa: T201
        return error.exit_code
    except OSError as error:
        if error.errno is None:
            raise
        place = "" if error.filename is None else f": {error.filename}"
        remedy = "; make room and run it again" if error.errno in FULL else ""
        said = f"{error.strerror}{place}; partly written files are not used{remedy}"
        print(f"medtransfer: {said}", file=sys.stderr)  # noqa: T201
        return 2
    return 0


def _require_plain(options: argparse.Namespace) -> None:
    for option, what in NAMES.items():
        value = getattr(options, option, None)
        for name in value if isinstance(value, list) else [] if value is None else [value]:
            plain_name(name, what)


def build_parser() -> argparse.ArgumentParser:
    """Return the parser with every verb."""
    parser = argparse.ArgumentParser(
        prog="medtransfer",
        description="Which pretrained knowledge transfers to a medical imaging task, how much, and why.",
    )
    parser.add_argument("--version", action="version", version=__version__)
    verbs = parser.add_subparsers(title="verbs", metavar="VERB", required=True)
    _pipeline_verbs(verbs)
    _user_verbs(verbs)
    return parser


_OF_A_STUDY = {
    "transferability": "score what the source models predict about the target before fine-tuning",
    "score": "compute metrics and intervals from the predictions table",
    "measure": "measure the cost of the networks, and how far fine-tuning moved them from their start",
    "register": "register the best model of each contest by its validation metric",
    "explain": "draw what the networks look at, and the regions that self-supervision uses",
    "report": "reproduce the paper's tables and figures, with its values and ours",
}


def _pipeline_verbs(verbs: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add the verbs that dvc.yaml calls."""
    _verb(verbs, "code", "write which code every stage runs", stage="code")
    prepare = _verb(verbs, "prepare", "read, split and pack a data set", stage="prepare")
    prepare.add_argument("dataset")
    _verb(verbs, "gate", "stop if a patient or an image is in two splits", stage="gate")
    fit = _verb(verbs, "fit", "train a variant of one phase of a study", stage="fit")
    fit.add_argument("study", choices=STUDIES)
    fit.add_argument("phase", help="a phase of the study; medtransfer check lists them")
    fit.add_argument("variant", help="a variant of the phase, or all")
    fit.add_argument("--condition", action="append", default=[], help="only this condition; may be repeated")
    for name, what in _OF_A_STUDY.items():
        _verb(verbs, name, what, stage=name).add_argument("study", choices=with_verb(name))
    _predict_verb(verbs)
    _verb(verbs, "overview", "write one front page for the reports of all studies", stage="overview")


def _user_verbs(verbs: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add the verbs that people call."""
    _project_verbs(verbs)
    evaluate = _verb(verbs, "evaluate", "score a registered model on images it has never seen", stage="evaluate")
    evaluate.add_argument("--model", required=True, help="for example models:/covid-ct@champion")
    source = evaluate.add_mutually_exclusive_group(required=True)
    source.add_argument("--images", type=Path, help="folder of images; sub-folders named like classes are labels")
    source.add_argument("--manifest", type=Path, help="CSV table: image; label or y_FINDING, patient_id")
    evaluate.add_argument("--rename", action="append", default=[], metavar="FOLDER=CLASS", help="name a folder's class")
    evaluate.add_argument("--precision", choices=("fp32", "bf16"), default="fp32", help="default: fp32")
    evaluate.add_argument("--out", type=Path, default=Path("out/evaluate"))
    _serve_verb(verbs)
    _compare_verb(verbs)
    _audit_verb(verbs)
    _prevalence_verb(verbs)
    data = _verb(verbs, "data", "add a real data set, or draw the phantoms", stage="data")
    actions = data.add_subparsers(title="actions", metavar="ACTION", required=True, dest="action")
    add = actions.add_parser("add", help="add a real data set under datasets/<name>")
    add.add_argument("source", help="its layout: imagefolder, covid_ct, covidx, covidx_like, csv, dicom, ...")
    add.add_argument("--from", dest="origin", type=Path, required=True, help="folder of the downloaded data set")
    add.add_argument("--name", help="name under datasets/ (default: the layout's)")
    add.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="an option of the layout")
    draw = actions.add_parser("phantom", help="draw the embedded sample")
    draw.add_argument("--to", type=Path, required=True)
    workspace = _verb(verbs, "workspace", "make a separate folder for another profile or other data", stage="workspace")
    workspace.add_argument("name")
    what = workspace.add_mutually_exclusive_group(required=True)
    what.add_argument("--profile", help="a file in profiles/ without .yaml")
    what.add_argument("--data", "--csv", type=Path, help="own images, as in compare; with --network")
    _target_options(workspace)
    workspace.add_argument("--network", help="<network>[_to_<block>], for example tf_efficientnet_lite0")
    workspace.add_argument("--chain", choices=("none", "stl_n"), default="stl_n", help="random or ready-made weights")
    workspace.add_argument("--start", help="file of ready-made weights (default: that of the network in weights/)")
    workspace.add_argument("--size", type=int, default=160, help="side of the images in pixels (default: 160)")
    _registry_verbs(_verb(verbs, "registry", "show or move an alias of a registered model", stage="registry"))
    lineage = _verb(verbs, "lineage", "show where a thing comes from and what was made of it", stage="lineage")
    lineage.add_argument("what", help="a data set, MODEL@ALIAS, MODEL/VERSION, a run or a weights hash")
    imported = _verb(verbs, "import", "add runs of copied outputs to the tracker, each once", stage="imports")
    imported.add_argument("folder", type=Path, nargs="?", default=Path("out"))
    _tuning_verbs(verbs)


def _project_verbs(verbs: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add the verbs that run the pipeline as a whole, or say what state it and its machine are in."""
    repro = _verb(verbs, "repro", "run dvc repro, and say which stage of how many", stage="repro")
    repro.add_argument("targets", nargs="*", help="stages (default: the whole pipeline)")
    _verb(verbs, "summary", "print the answers, and whether the metrics are those of the last commit", stage="summary")
    _verb(verbs, "check", "validate params.yaml and the profiles", stage="check")
    _verb(verbs, "doctor", "look whether this machine, its environment and its stores are fit to run", stage="doctor")


def _predict_verb(verbs: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    what = "write the predictions table of a study, or with --model answer images"
    predict = _verb(verbs, "predict", what, stage="predict")
    predict.add_argument("study", metavar="STUDY|IMAGE", help=f"one of {', '.join(with_verb('predict'))}, or an image")
    predict.add_argument("more", nargs="*", metavar="IMAGE", help="further images")
    predict.add_argument(
        "--model", help="NAME@ALIAS, NAME/VERSION or a folder of weights, for example covid-ct@champion"
    )
    predict.add_argument("--out", type=Path, help="folder of the maps (with --model; default: out/predict)")


def _serve_verb(verbs: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    what = "answer images over HTTP: a page and JSON (a token is read from MEDTRANSFER_TOKEN)"
    serve = _verb(verbs, "serve", what, stage="serve")
    serve.add_argument("model", help="NAME@ALIAS or NAME/VERSION, for example covid-ct@champion")
    serve.add_argument("--host", default="127.0.0.1", help="address to listen on (default: 127.0.0.1, this machine)")
    serve.add_argument("--port", type=int, default=5001, help="0: any (default: 5001)")
    serve.add_argument("--allow-host", action="append", default=[], metavar="NAME", help="name that requests may use")
    for option, kind, usual, help_text in (
        ("waiting", int, 32, "requests at once, beyond which 503 is the reply"),
        ("megabytes", int, 16, "largest image file"),
        ("megabytes-waiting", int, 128, "of all images that wait, at least --megabytes; beyond it 503 is the reply"),
        ("seconds", float, 20.0, "longest time to send one"),
    ):
        serve.add_argument(f"--{option}", type=kind, default=usual, help=f"{help_text} (default: {usual:g})")


def _compare_verb(verbs: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    compare = _verb(verbs, "compare", "which network for your own images: screen, fine-tune and rank", stage="compare")
    compare.add_argument(
        "--data", type=Path, required=True, help="CSV table, folder of class folders, or name of an added data set"
    )
    _target_options(compare)
    compare.add_argument("--candidates", help="networks with commas between, or a YAML list (default: weights at hand)")
    compare.add_argument("--weights", type=Path, default=Path("weights"), help="folder of ready-made weights")
    compare.add_argument("--name", help="of the comparison (default: that of the data)")
    for option, kind, usual, what in (
        ("size", int, 160, "side of the images in pixels"),
        ("keep", int, 3, "how many candidates are fine-tuned; 0: screening alone"),
        ("seeds", int, 3, "fits per candidate"),
        ("steps", int, 80, "of every fit"),
        ("batch", int, 16, "images per step"),
        ("lr", float, 0.0005, "learning rate of every fit"),
    ):
        compare.add_argument(f"--{option}", type=kind, default=usual, help=f"{what} (default: {usual})")
    compare.add_argument("--register", metavar="MODEL", help="register the best candidate under this name")


def _target_options(parser: argparse.ArgumentParser) -> None:
    """Add the options that say where images are and what is asked about them."""
    parser.add_argument("--layout", help="layout of the folder: imagefolder, covid_ct, … (default: imagefolder)")
    parser.add_argument(
        "--modality", choices=("CXR", "CT", "natural"), default="CXR", help="of a table or class folders"
    )
    parser.add_argument("--target", action="append", default=[], help="column of the answer; several: findings")
    parser.add_argument(
        "--task", choices=("binary", "multiclass", "multilabel", "regression"), help="kind of the answer"
    )
    parser.add_argument("--positive", default="", help="of two classes, the one that is looked for")


def _audit_verb(verbs: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    audit = _verb(verbs, "audit", "look for shortcuts in the data, and in what a model uses", stage="audit")
    model = audit.add_mutually_exclusive_group(required=True)
    model.add_argument("study", nargs="?", choices=with_verb("audit"), help="the best network of each contest")
    model.add_argument("--model", help="for example models:/covid-ct@champion")
    model.add_argument("--weights", type=Path, help="folder of a fit's weights")
    model.add_argument(
        "--predictions", type=Path, help="of a model from elsewhere: CSV table with image and score columns"
    )
    source = audit.add_mutually_exclusive_group()
    source.add_argument("--manifest", type=Path, help="CSV table of images; with a split column its test images count")
    source.add_argument("--dataset", help="the test images of a prepared data set")
    audit.add_argument("--positive", help="class or finding in question (default: the model's positive class)")
    audit.add_argument(
        "--annotations", type=Path, help="CSV table: image, and left, top, right, bottom of a marker, sex"
    )
    audit.add_argument("--out", type=Path, default=Path("out/audits.json"))


def _prevalence_verb(verbs: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    what = "show what a threshold fixed on validation means where the disease is rarer"
    prevalence = _verb(verbs, "prevalence", what, stage="prevalence")
    prevalence.add_argument("--predictions", type=Path, required=True, help="predictions table, parquet or CSV")
    prevalence.add_argument("--model", help="registered model whose validation images fix the threshold")
    for name in ("variant", "condition", "dataset", "output"):
        prevalence.add_argument(f"--{name}", help="which, where the table holds several")
    prevalence.add_argument("--seed", type=int, help="which, where the table holds several")
    prevalence.add_argument("--rule", choices=("sensitivity_80", "youden", "half"), default="sensitivity_80")
    prevalence.add_argument(
        "--prevalence", type=float, action="append", metavar="SHARE", help="from 0 to 1; may be repeated"
    )
    prevalence.add_argument("--draws", type=int, default=1000, help="simulated cohorts (default: 1000)")
    prevalence.add_argument("--out", type=Path, default=Path("out/prevalence"))


def _tuning_verbs(verbs: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    tune = _verb(
        verbs, "tune", "search over parameters, tuning.NAME of params.yaml, or go on with a search", stage="tune"
    )
    tune.add_argument("name")
    tune.add_argument("--workers", type=int, default=1, help="processes on this machine (default: 1)")
    tune.add_argument("--storage", help="postgresql+psycopg://… joins one search from several machines")
    report = _verb(verbs, "report-tuning", "write the page of a search", stage="report_tuning")
    report.add_argument("name")
    adopt = _verb(verbs, "adopt", "write the values of a trial into params.yaml", stage="adopt")
    adopt.add_argument("name")
    adopt.add_argument("--trial", type=int, help="its number (default: the best by the first objective)")
    confirm = _verb(verbs, "confirm", "compare adopted and former values on new seeds and test rows", stage="confirm")
    confirm.add_argument("name")
    confirm.add_argument("--seeds", type=int, default=3, help="how many new seeds (default and fewest: 3)")
    for option, kind in (("--worker", int), ("--until", float)):  # given by tune to the processes that it starts
        tune.add_argument(option, type=kind, help=argparse.SUPPRESS)


def _registry_verbs(registry: argparse.ArgumentParser) -> None:
    actions = registry.add_subparsers(title="actions", metavar="ACTION", required=True, dest="action")
    log = actions.add_parser("log", help="which versions had the alias, since when, by whom and why")
    promote = actions.add_parser("promote", help="give the alias to a version whose gates are open")
    promote.add_argument("--version", type=int, required=True)
    promote.add_argument("--override", default="", metavar="REASON", help="promote although a gate is not shown")
    back = actions.add_parser("rollback", help="give the alias back to the version that had it before")
    log.add_argument("--on", type=date.fromisoformat, metavar="YYYY-MM-DD", help="who had the alias on this day (UTC)")
    actions.add_parser("relink", help="after the project was moved: let its store find the artefacts again")
    for action in (log, promote, back):
        action.add_argument("model", help="for example covid-ct")
        action.add_argument("--alias", default="champion")
    for action in (promote, back):
        action.add_argument("--why", required=True, help="the reason, kept in the log")


def _verb(
    verbs: "argparse._SubParsersAction[argparse.ArgumentParser]", name: str, help_text: str, *, stage: str
) -> argparse.ArgumentParser:
    parser = verbs.add_parser(name, help=help_text, description=help_text[0].upper() + help_text[1:] + ".")
    parser.set_defaults(stage=stage)
    return parser
