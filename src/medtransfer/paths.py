"""The only place that knows folder names, and the one rule for names that become part of a path.

All paths are relative to the workspace unless said otherwise.
"""

import os
import re
from pathlib import Path

from medtransfer.errors import ConfigError

LONGEST = 100
PLAIN = (
    "letters, digits, '_', '-', '.' and '+', beginning with a letter or digit, not ending with '.', "
    f"at most {LONGEST} characters"
)
"""The rule in words. It leaves no way out of a folder: no separator, no '..', no leading '-' or '.', nothing empty."""
_PLAIN = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9_.+-]*[A-Za-z0-9_+-])?")


def is_plain(name: str, *, longest: int = LONGEST) -> bool:
    """Whether a name may become part of a path."""
    return len(name) <= longest and _PLAIN.fullmatch(name) is not None


def plain_name(name: str, what: str) -> str:
    """Return a name that is about to become part of a path.

    Args:
        name: the name.
        what: what it names, for the message: ``data set``.

    Raises:
        ConfigError: the name is not plain.
    """
    if not is_plain(name):
        raise ConfigError(f"{what} {name!r}: not a plain name, expected {PLAIN}; choose another name")
    return name


def below(folder: Path, name: str, what: str) -> Path:
    """Return the path of a plain name in a folder: never the folder itself, and never outside of it.

    Raises:
        ConfigError: the name is not plain.
    """
    return folder / plain_name(name, what)


def workspace() -> Path:
    """Return the folder that holds params.yaml: DVC's root when DVC runs us, else the working folder."""
    return Path(os.environ.get("DVC_ROOT") or Path.cwd())


PARAMS = Path("params.yaml")
OUT = Path("out")
METRICS = Path("metrics")
SCRATCH = Path(".scratch")
REPORT = OUT / "report"
GATE = OUT / "gate.json"
RAW = Path("datasets")
PROFILES = Path("profiles")
WORKSPACES = Path("workspaces")


def dataset(name: str) -> Path:
    """Folder of a packed data set."""
    return below(OUT / "datasets", name, "data set")


def variant(study: str, phase: str, name: str) -> Path:
    """Folder of one stage's outputs: ``weights/seed<N>`` and ``records/seed<N>`` lie below it."""
    return below(below(below(OUT, study, "study"), phase, "phase"), name, "variant")


def weights(study: str, phase: str, name: str, seed: int) -> Path:
    """Folder with model.safetensors and config.json of one fit."""
    return variant(study, phase, name) / "weights" / f"seed{seed}"


def records(study: str, phase: str, name: str, seed: int) -> Path:
    """Folder with run.json, history.csv and the tracked events of one fit."""
    return variant(study, phase, name) / "records" / f"seed{seed}"


def scratch(stage: str) -> Path:
    """Folder of a stage's unfinished work.

    A stage's name joins several plain names, so it may be twice as long as one of them.
    """
    if not is_plain(stage, longest=2 * LONGEST):
        raise ConfigError(f"stage {stage!r}: not made of plain names, expected {PLAIN} in each; shorten or change them")
    return SCRATCH / stage


def fetched_model(name: str, version: int) -> Path:
    """Folder of a registered model's weights after they were fetched."""
    return SCRATCH / "models" / f"{plain_name(name, 'model')}-{version:d}"


def workspace_folder(root: Path, name: str) -> Path:
    """Folder of a workspace of a checkout."""
    return below(root / WORKSPACES, name, "workspace")


def profile_file(root: Path, name: str) -> Path:
    """File of a profile of a checkout."""
    return root / PROFILES / f"{plain_name(name, 'profile')}.yaml"
