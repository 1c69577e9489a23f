"""The code that determines a result: the modules that a computation imports, directly or not, and a hash of each.

A stage depends on a token with these hashes instead of on folders, so an edit affects only the stages that run it.
Data files in a module's folder (the CSV files of ``paper/``, the page's style sheet) count as part of the module.
"""

import hashlib
from collections.abc import Collection, Iterable
from functools import cache
from pathlib import Path
from typing import Any

import medtransfer

GLUE_OF_RECORDS = (
    "cli",
    "code",
    "errors",
    "files",
    "params",
    "paths",
    "processes",
    "profiles",
    "stages",
    "yaml_text",
    "__main__",
)
"""Rooms that determine no number: verbs, wiring, layer zero."""
GLUE = (*GLUE_OF_RECORDS, "tracking")
"""The same and tracking, which records what others compute; stages that record do depend on it."""


def module_hashes(entries: Iterable[str], *, glue: Collection[str] = GLUE) -> dict[str, str]:
    """Return ``{module: hash of its source}`` of some modules and everything they import, sorted by name.

    Imports of a study's ``config`` are not followed: it names the types of parameters, whose values are tracked; a
    computation imports itself what it uses of them.

    Args:
        entries: full names of modules or packages; a package means all of its modules.
        glue: rooms that are left out.
    """
    modules = set().union(*(closure(entry) for entry in entries))
    return {module: _hash(module) for module in sorted(modules) if _room(module) not in (*glue, "")}


def digest(entries: Iterable[str]) -> str:
    """Return one hash of everything that :func:`module_hashes` returns."""
    lines = "".join(f"{module} {value}\n" for module, value in module_hashes(entries).items())
    return hashlib.sha256(lines.encode()).hexdigest()[:12]


@cache
def closure(entry: str) -> frozenset[str]:
    """Return a module, or the modules of a package, and everything they import, directly or not."""
    graph = _graph()
    own = {module for module in graph.modules if f"{module}.".startswith(f"{entry}.")}
    return frozenset(own.union(*(graph.find_upstream_modules(module) for module in own)))


def direct_imports(module: str) -> frozenset[str]:
    """Return the modules of this package that a module imports directly, also inside functions."""
    return frozenset(_graph().find_modules_directly_imported_by(module))


@cache
def _graph() -> Any:
    import grimp

    graph = grimp.build_graph("medtransfer", exclude_type_checking_imports=True, cache_dir=None)
    for module in sorted(graph.modules):
        if module.startswith("medtransfer.studies.") and module.endswith(".config"):
            for imported in graph.find_modules_directly_imported_by(module):
                graph.remove_import(importer=module, imported=imported)
    return graph


@cache
def _hash(module: str) -> str:
    path = Path(medtransfer.__file__).parent.joinpath(*module.split(".")[1:])
    source = path / "__init__.py" if path.is_dir() else path.with_suffix(".py")
    data_files = [
        file for file in source.parent.iterdir() if file.is_file() and file.suffix not in (".py", ".md", ".pyc")
    ]
    content = hashlib.sha256()
    for file in (source, *sorted(data_files)):
        content.update(f"{file.name} {hashlib.sha256(file.read_bytes()).hexdigest()}\n".encode())
    return content.hexdigest()[:16]


def _room(module: str) -> str:
    return module.split(".")[1] if "." in module else ""
