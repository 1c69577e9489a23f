"""The command line: verbs to stages. Nothing heavy is imported before a verb runs.

Exit codes: 0 fine, 1 a bug (with traceback), 2 a mistake the user can fix (one line), 3 a gate is closed.
"""

import argparse
import importlib
import sys
from collections.abc import Sequence
from pathlib import Path

from medtransfer import __version__
from medtransfer.errors import MedTransferError
from medtransfer.paths import plain_name

PHASES = {
    "attentive_transfer": ("stl_n", "stl_m", "sstl_m", "finetune"),
    "truncated_transfer": ("pretrain", "finetune"),
}
STUDIES = tuple(PHASES)
NAMES = {
    "arm": "arm",
    "chain": "chain",
    "dataset": "data set",
    "name": "name",
    "network": "network",
    "profile": "profile",
    "source": "source",
}
"""Arguments that become part of a path, and what they name; refused before a verb runs when they are not plain."""


def run(arguments: Sequence[str]) -> int:
    """Parse the arguments, run the verb's module and return the exit code."""
    options = build_parser().parse_args(arguments)
    try:
        _require_plain(options)
        stage = importlib.import_module(f"medtransfer.stages.{options.stage}")
        stage.run(options)
    except MedTransferError as error:
        print(f"medtransfer: {error}", file=sys.stderr)  # noqa: T201
        return error.exit_code
    except OSError as error:
        if error.errno is None:
            raise
        print(f"medtransfer: {error.strerror}: {error.filename}; nothing half-written is used", file=sys.stderr)  # noqa: T201
        return 2
    return 0


def _require_plain(options: argparse.Namespace) -> None:
    for option, what in NAMES.items():
        given = getattr(options, option, None)
        if given is not None:
            plain_name(given, what)


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


def _pipeline_verbs(verbs: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """The verbs that dvc.yaml calls."""
    prepare = _verb(verbs, "prepare", "read, split and pack a data set", stage="prepare")
    prepare.add_argument("dataset")
    _verb(verbs, "gate", "stop when a patient or an image stands in two splits", stage="gate")
    start = _verb(verbs, "start", "write the untrained weights of a network", stage="start")
    start.add_argument("study", choices=("attentive_transfer",))
    start.add_argument("--network", required=True, help="a name out of the study's networks")
    _fit_verbs(_verb(verbs, "fit", "train one phase of a study", stage="fit"))
    for name, what, studies in (
        ("transferability", "score what the source models know of the target before fine-tuning", STUDIES[:1]),
        ("predict", "write the predictions table of a study", STUDIES),
        ("score", "compute metrics and intervals from the predictions table", STUDIES),
        ("measure", "measure what networks cost, and how far fine-tuning moved them from their start", STUDIES[1:]),
        ("register", "register the best fine-tuned network by validation AUROC", STUDIES[:1]),
        ("explain", "draw what the networks look at, and the regions that self-supervision reads", STUDIES[:1]),
        ("report", "rebuild the paper's tables and figures beside ours", STUDIES),
    ):
        _verb(verbs, name, what, stage=name).add_argument("study", choices=studies)
    _verb(verbs, "overview", "write one front page for the reports of all studies", stage="overview")


def _fit_verbs(fit: argparse.ArgumentParser) -> None:
    """One verb a study: what names a fit differs from study to study."""
    studies = fit.add_subparsers(title="studies", metavar="STUDY", required=True, dest="study")
    attentive = studies.add_parser("attentive_transfer", help="networks with ATTN after a chain of pretraining")
    attentive.add_argument("phase", choices=PHASES["attentive_transfer"])
    attentive.add_argument("--network", required=True, help="a name out of the study's networks")
    attentive.add_argument(
        "--chain", required=True, help="the chain that a pretraining phase completes, or that fine-tuning starts from"
    )
    truncated = studies.add_parser("truncated_transfer", help="networks cut early, whole, slim and small")
    truncated.add_argument("phase", choices=PHASES["truncated_transfer"])
    what = truncated.add_mutually_exclusive_group(required=True)
    what.add_argument("--network", help="a whole network to pretrain")
    what.add_argument("--arm", help="network and strategy to fine-tune, for example densenet121_t1-transfer")


def _user_verbs(verbs: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """The verbs that people call."""
    evaluate = _verb(verbs, "evaluate", "score a registered model on pictures it has never seen", stage="evaluate")
    evaluate.add_argument("--model", required=True, help="for example models:/covid-ct@champion")
    source = evaluate.add_mutually_exclusive_group(required=True)
    source.add_argument("--images", type=Path, help="folder of pictures; sub-folders named like classes are labels")
    source.add_argument("--manifest", type=Path, help="CSV table with image, label and patient_id columns")
    evaluate.add_argument("--rename", action="append", default=[], metavar="FOLDER=CLASS", help="name a folder's class")
    evaluate.add_argument("--out", type=Path, default=Path("out/evaluate"))
    data = _verb(verbs, "data", "add a real data set, or draw the phantoms", stage="data")
    actions = data.add_subparsers(title="actions", metavar="ACTION", required=True, dest="action")
    add = actions.add_parser("add", help="bring a real data set in under datasets/<name>")
    add.add_argument("source", help="which layout: imagefolder, covid_ct, covidx, covidx_like, csv, ...")
    add.add_argument("--from", dest="origin", type=Path, required=True, help="folder of the downloaded data set")
    add.add_argument("--name", help="name under datasets/ (default: the layout's)")
    add.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="an option of the layout")
    draw = actions.add_parser("phantom", help="draw the embedded sample")
    draw.add_argument("--to", type=Path, required=True)
    workspace = _verb(
        verbs, "workspace", "make a folder of its own for another profile or other data", stage="workspace"
    )
    workspace.add_argument("name")
    workspace.add_argument("--profile", required=True, help="a file in profiles/ without .yaml")
    _registry_verbs(_verb(verbs, "registry", "show or move an alias of a registered model", stage="registry"))
    imported = _verb(
        verbs, "import", "bring runs of restored or copied outputs into the tracker, once each", stage="imports"
    )
    imported.add_argument("folder", type=Path, nargs="?", default=Path("out"))
    _verb(verbs, "check", "validate params.yaml and the profiles", stage="check")


def _registry_verbs(registry: argparse.ArgumentParser) -> None:
    actions = registry.add_subparsers(title="actions", metavar="ACTION", required=True, dest="action")
    log = actions.add_parser("log", help="which version carried the alias, since when, by whom and why")
    promote = actions.add_parser("promote", help="give the alias to a version whose gates are open")
    promote.add_argument("--version", type=int, required=True)
    back = actions.add_parser("rollback", help="give the alias back to the version that carried it before")
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
