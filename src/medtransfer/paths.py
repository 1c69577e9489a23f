"""The only place that knows folder names, and the one rule for names that become part of a path.

All paths are relative to the workspace unless said otherwise.
"""

import os
import re
from dataclasses import dataclass
from pathlib import Path

from medtransfer.errors import ConfigError

LONGEST = 100
PLAIN = (
    "letters, digits, '_', '-', '.' and '+', beginning with a letter or digit, not ending with '.', "
    f"at most {LONGEST} characters"
)
"""The rule in words. No such name leads out of a folder: no separator, no '..', no leading '-' or '.', not empty."""
_PLAIN = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9_.+-]*[A-Za-z0-9_+-])?")


def is_plain(name: str, *, longest: int = LONGEST) -> bool:
    """Return whether a name may become part of a path."""
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
AUDITS = METRICS / "audit.json"
SCRATCH = Path(".scratch")
REPORT = OUT / "report"
CODE = OUT / "code"
GATE = OUT / "gate"
GATE_REPORT = GATE / "report.json"
RAW = Path("datasets")
PROFILES = Path("profiles")
WORKSPACES = Path("workspaces")


def dataset(name: str) -> Path:
    """Folder of a packed data set."""
    return below(OUT / "datasets", name, "data set")


def looks(name: str) -> Path:
    """Folder with the thumbnails and spectra of a packed data set, which the gate keeps between runs."""
    return below(SCRATCH / "looks", name, "data set")


@dataclass(frozen=True, kw_only=True)
class FitPaths:
    """Where the files of one fit are: one seed of a variant under a condition, in a folder that its study chooses."""

    study: str
    folder: str
    variant: str
    condition: str
    seed: int

    @property
    def weights(self) -> Path:
        """Folder with model.safetensors and config.json."""
        return weights_folder(self.study, self.folder, self.variant) / self._below_variant

    @property
    def records(self) -> Path:
        """Folder with run.json, history.csv and the tracked events."""
        return records_folder(self.study, self.folder, self.variant) / self._below_variant

    @property
    def scratch(self) -> Path:
        """Folder that holds this fit while it runs, and afterwards in case its stage runs again."""
        return scratch_folder(self.study, self.folder, self.variant) / self._below_variant

    @property
    def _below_variant(self) -> Path:
        return Path(plain_name(self.condition, "condition")) / f"seed{self.seed:d}"


def weights_folder(study: str, folder: str, variant: str) -> Path:
    """Folder of a variant's weights, one folder per condition; later stages depend on it."""
    return _of_variant(study_folder(study) / "weights", folder, variant)


def records_folder(study: str, folder: str, variant: str) -> Path:
    """Folder of the records of a variant's training, one folder per condition."""
    return _of_variant(study_folder(study) / "records", folder, variant)


def scratch_folder(study: str, folder: str, variant: str) -> Path:
    """Folder of a variant's fits below ``.scratch``."""
    return _of_variant(below(SCRATCH / "fits", study, "study"), folder, variant)


def study_folder(study: str) -> Path:
    """Folder of all outputs of a study: ``weights/``, ``records/`` and ``results/``."""
    return below(OUT, study, "study")


def results(study: str) -> Path:
    """Folder of what was computed from a study's weights: predictions, explanations, measurements, champions."""
    return study_folder(study) / "results"


def explanations(study: str) -> Path:
    """Folder of a study's panels and gallery."""
    return results(study) / "explanations"


def audit(study: str) -> Path:
    """File with the audits of a study's candidates."""
    return results(study) / "audit.json"


def audit_report(study: str) -> Path:
    """Folder of the page of a study's audits."""
    return REPORT / f"audit-{plain_name(study, 'study')}"


def card(study: str) -> Path:
    """File with every metric of a study's predictions, with intervals."""
    return results(study) / "card.json"


def metrics(study: str) -> Path:
    """Folder of the few metrics of a study that are committed, ``<registered model>/<variant>.json``."""
    return below(METRICS, study, "study")


def report(study: str) -> Path:
    """Folder of a study's report."""
    return below(REPORT, study, "study")


def tuning(search: str) -> Path:
    """Folder of the results of a search."""
    return below(OUT / "tuning", search, "search")


def tuning_report(search: str) -> Path:
    """Folder of the page of a search."""
    return REPORT / f"tuning-{plain_name(search, 'search')}"


def code_token(name: str) -> Path:
    """File with the hashes of the modules that a stage runs."""
    return CODE / f"{plain_name(name, 'token')}.json"


def gate_dataset(name: str) -> Path:
    """The gate's token of a data set: it changes only with the data set's content."""
    return below(GATE / "datasets", f"{plain_name(name, 'data set')}.json", "token")


def gate_chain(study: str) -> Path:
    """The gate's token of a study, on which its fits depend: no image is in two splits across its data sets."""
    return below(GATE / "chains", f"{plain_name(study, 'study')}.json", "token")


def gate_study(study: str) -> Path:
    """The content hashes of all data sets of a study."""
    return below(GATE / "studies", f"{plain_name(study, 'study')}.json", "token")


def _of_variant(root: Path, folder: str, variant: str) -> Path:
    return below(below(root, folder, "folder"), variant, "variant")


def fetched_model(name: str, version: int) -> Path:
    """Folder of the fetched weights of a registered model."""
    return SCRATCH / "models" / f"{plain_name(name, 'model')}-{version:d}"


def workspace_folder(root: Path, name: str) -> Path:
    """Folder of a workspace of a checkout."""
    return below(root / WORKSPACES, name, "workspace")


def profile_file(root: Path, name: str) -> Path:
    """File of a profile of a checkout."""
    return root / PROFILES / f"{plain_name(name, 'profile')}.yaml"
