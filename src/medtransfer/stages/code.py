"""``medtransfer code``: write which code every stage runs, so that DVC knows which stages an edit affects."""

from argparse import Namespace

from medtransfer import code, paths, studies
from medtransfer.files import write_json


def run(options: Namespace) -> None:
    """Write ``out/code/<stage>.json`` for every stage: its modules, each with a hash of its source."""
    del options
    for name, hashes in tokens().items():
        write_json(paths.code_token(name), hashes)


def tokens() -> dict[str, dict[str, str]]:
    """Return the token of every stage: ``fit-<study>-<phase>``, ``<verb>-<study>``, and the verbs without a study."""
    stages = {verb: _hashes(verb, []) for verb in ("prepare", "gate", "overview")}
    for study in studies.STUDIES:
        for phase in studies.module(study, "study").PHASES:
            stages[f"fit-{study}-{phase}"] = _hashes("fit", studies.entries("fit", study, phase))
    for verb in studies.VERBS:
        for study in studies.with_verb(verb):
            stages[f"{verb}-{study}"] = _hashes(verb, studies.entries(verb, study))
    return stages


def _hashes(verb: str, entries: list[str]) -> dict[str, str]:
    """Return the hashes of a stage, with what its own module calls except parameters: their values are tracked."""
    called = code.direct_imports(f"medtransfer.stages.{verb}") - {"medtransfer.params", "medtransfer.studies"}
    glue = code.GLUE_OF_RECORDS if verb in ("score", "register", "report") else code.GLUE
    return code.module_hashes([*sorted(called), *entries], glue=glue)
