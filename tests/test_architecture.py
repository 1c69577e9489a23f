"""Rules of docs/architecture.md that can be read off the source: who imports whom, sizes, nothing done at import."""

import ast
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

SOURCE = Path(__file__).parent.parent / "src"
MODULES = sorted(
    ".".join(file.relative_to(SOURCE).with_suffix("").parts).removesuffix(".__init__") for file in SOURCE.rglob("*.py")
)
LEAVES = ("losses", "models", "data", "evaluation", "tracking")
GROUND = ("errors", "files", "paths", "types", "config")
LAYERS = (GROUND, LEAVES, ("ssl", "explain", "reporting"), ("training",), ("studies",), ("params", "tuning"))
TOP = ("cli", "stages", "__main__")
OWNERS = {"mlflow": "tracking", "optuna": "tuning", "timm": "models"}
MODELS_FROM_CODE = "medtransfer.tracking.serving"
"""MLflow runs this file to load a model: it needs other rooms and calls ``set_model``. No module imports it."""
CALLED_AT_IMPORT = frozenset(
    {
        "AfterValidator", "Annotated", "ConfigDict", "Field", "Literal", "TypeVar", "Path", "re.compile", "re.escape",
        "logging.getLogger",
        "frozenset", "tuple", "dict", "range", "len", "sorted", "map", "split", "join", "format",
        "np.array", "np.arange", "np.cos", "np.uint64",
        "dataclass", "field", "model_validator", "field_validator", "torch.no_grad", "torch.inference_mode",
        "Console", "Bound", "metric", "flipped_hash", "labels",
    }
)  # fmt: skip
"""Constants, patterns, types and decorators, besides the package's own records: nothing is read, written or started."""


def room(module):
    return module.split(".")[1] if "." in module else ""


def level(name):
    return next((number for number, names in enumerate(LAYERS) if name in names), len(LAYERS))


def test_every_room_stands_in_the_table_of_layers():
    known = {name for names in LAYERS for name in names} | set(TOP)
    assert {room(module) for module in MODULES} - {""} <= known


@pytest.mark.parametrize("module", [m for m in MODULES if room(m)])
def test_imports_only_go_downwards(module, sources):
    above = {other for other in sources.inner(module) if room(other) and level(room(other)) > level(room(module))}
    assert not above, f"{module} imports upwards: {sorted(above)}"


def test_leaves_know_nothing_of_each_other(sources):
    leaves = [m for m in MODULES if room(m) in LEAVES and m != MODELS_FROM_CODE]
    pairs = {(m, o) for m in leaves for o in sources.inner(m) if room(o) in LEAVES}
    assert not {(m, o) for m, o in pairs if room(m) != room(o)}


def test_a_study_never_imports_another_study(sources):
    parts = {m: m.split(".")[2] for m in MODULES if room(m) == "studies" and m.count(".") > 1}
    folder = {m: name for m, name in parts.items() if name != "base"}
    assert not {(m, o) for m in folder for o in sources.inner(m) if o in folder and folder[o] != folder[m]}


@pytest.mark.parametrize(("library", "owner"), OWNERS.items())
def test_a_library_that_could_be_replaced_is_imported_in_one_room(library, owner, sources):
    users = {m for m in MODULES if any(name.split(".")[0] == library for name in sources.imported(m))}
    assert {room(m) for m in users} <= {owner}


def test_metrics_need_no_torch(sources):
    users = {
        m for m in MODULES if room(m) == "evaluation" and any(n.split(".")[0] == "torch" for n in sources.imported(m))
    }
    assert not users


def test_no_import_cycle(sources):
    graph = {module: sources.inner(module, types=False) for module in MODULES}
    assert set(MODULES) <= set(TopologicalSorter(graph).static_order())  # a cycle has no order: CycleError names it


@pytest.mark.parametrize("module", [m for m in MODULES if m not in {MODELS_FROM_CODE, "medtransfer.__main__"}])
def test_nothing_is_done_at_import(module, sources):
    allowed = CALLED_AT_IMPORT | sources.records()
    calls = {
        f"{ast.unparse(node.func)[:40]} in line {node.lineno}"
        for node in sources.at_import(module)
        if isinstance(node, ast.Call) and not {ast.unparse(node.func), last_name(node.func)} & allowed
    }
    loops = {
        f"loop in line {n.lineno}" for n in sources.tree(module).body if isinstance(n, (ast.For, ast.While, ast.With))
    }
    assert not calls | loops, f"{module}: {sorted(calls | loops)}"


def last_name(function):
    """The method's name of a call on a literal or constant: ``"a b".split()``."""
    plain = isinstance(function, ast.Attribute) and not (
        isinstance(function.value, ast.Name) and function.value.id.islower()
    )
    return function.attr if plain else ""


def test_the_models_from_code_file_is_imported_by_nobody(sources):
    assert not {module for module in MODULES if MODELS_FROM_CODE in sources.inner(module)}


@pytest.mark.parametrize("module", MODULES)
def test_modules_and_functions_stay_readable(module, sources):
    assert len(sources.files[module].read_text(encoding="utf-8").splitlines()) <= 300
    functions = [n for n in ast.walk(sources.tree(module)) if isinstance(n, (ast.FunctionDef, ast.AsyncFunctionDef))]
    assert not {f"{node.name}: {lines(node)} lines" for node in functions if lines(node) > 40}


def lines(function):
    """Lines of a function without its docstring."""
    text = ast.get_docstring(function, clean=False)
    return function.end_lineno - function.lineno + 1 - (len(text.splitlines()) if text else 0)
