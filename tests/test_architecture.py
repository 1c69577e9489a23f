"""Rules of docs/architecture.md that can be read off the source: who imports whom, sizes, nothing done at import."""

import ast
from functools import cache
from graphlib import TopologicalSorter
from pathlib import Path

import grimp
import pytest

from medtransfer.studies import STUDIES

SOURCE = Path(__file__).parent.parent / "src"
FILES = {
    ".".join(file.relative_to(SOURCE).with_suffix("").parts).removesuffix(".__init__"): file
    for file in sorted(SOURCE.rglob("*.py"))
}
MODULES = list(FILES)
LEAVES = ("losses", "models", "data", "evaluation", "tracking")
GROUND = ("errors", "processes", "files", "paths", "types", "config", "yaml_text")
LAYERS = (
    GROUND,
    LEAVES,
    ("ssl", "explain", "audit", "reporting"),
    ("training",),
    ("studies", "comparing", "serving"),
    ("params", "tuning"),
    ("profiles",),
)
GRID = "medtransfer.tuning.grid"
"""A leaf that studies may import: Optuna's grid sampler. The rest of its room is above them."""
TOP = ("cli", "code", "stages", "api", "preloaded", "ending", "__main__")
OWNERS = {"mlflow": "tracking", "optuna": "tuning", "timm": "models"}
MODELS_FROM_CODE = "medtransfer.tracking.serving"
"""MLflow runs this file to load a model: it needs other rooms and calls ``set_model``. No module imports it."""
OF_THE_MODEL = {MODELS_FROM_CODE, "medtransfer.tracking.lungs"}
"""What a registered model does with its input, which joins images, lung masks and networks."""
CALLED_AT_IMPORT = frozenset(
    {
        "AfterValidator", "Annotated", "ConfigDict", "Field", "Literal", "TypeVar", "Path", "re.compile", "re.escape",
        "logging.getLogger",
        "frozenset", "tuple", "dict", "range", "len", "sorted", "map", "split", "join", "format",
        "np.array", "np.arange", "np.cos", "np.uint64",
        "dataclass", "field", "model_validator", "field_validator", "torch.no_grad", "torch.inference_mode",
        "Screen", "Bound", "metric", "flipped_hash", "labels",
    }
)  # fmt: skip
"""Constants, patterns, types and decorators, besides the package's own records: nothing is read, written or started."""


@cache
def imports(*, types=True):
    """Who imports whom, inside functions too: {module: modules and libraries}; ``types=False`` without annotations'."""
    options = {"include_external_packages": True, "exclude_type_checking_imports": not types, "cache_dir": None}
    graph = grimp.build_graph("medtransfer", **options)
    return {module: graph.find_modules_directly_imported_by(module) for module in MODULES}


def inner(module, *, types=True):
    """Modules of this package that a module imports."""
    return imports(types=types)[module] & {*MODULES} - {"medtransfer"}


@cache
def tree(module):
    return ast.parse(FILES[module].read_text(encoding="utf-8"))


def at_import(module):
    """Nodes that are evaluated when the module is imported: all but the bodies of functions."""
    waiting = [tree(module)]
    while waiting:
        node = waiting.pop()
        yield node
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            waiting += [*node.decorator_list, *node.args.defaults, *filter(None, node.args.kw_defaults)]
        elif not isinstance(node, ast.Lambda):
            waiting += ast.iter_child_nodes(node)


@cache
def records():
    """Names of classes that only hold values: dataclasses, configurations, named tuples."""
    classes = [node for module in MODULES for node in ast.walk(tree(module)) if isinstance(node, ast.ClassDef)]
    holding = {"Config", "NamedTuple"}
    for _ in range(4):  # levels of inheritance
        holding |= {c.name for c in classes if holding & {ast.unparse(base) for base in c.bases}}
    marked = {c.name for c in classes if any("dataclass" in ast.unparse(d) for d in c.decorator_list)}
    return holding | marked


def room(module):
    return module.split(".")[1] if "." in module else ""


def level(module):
    if module == GRID:
        return level("medtransfer.models")
    return next((number for number, names in enumerate(LAYERS) if room(module) in names), len(LAYERS))


def test_every_room_stands_in_the_table_of_layers():
    known = {name for names in LAYERS for name in names} | set(TOP)
    assert {room(module) for module in MODULES} - {""} <= known


@pytest.mark.parametrize("module", [m for m in MODULES if room(m)])
def test_imports_only_go_downwards(module):
    above = {other for other in inner(module) if room(other) and level(other) > level(module)}
    assert not above, f"{module} imports upwards: {sorted(above)}"


def test_leaves_know_nothing_of_each_other():
    leaves = [m for m in MODULES if room(m) in LEAVES and m not in OF_THE_MODEL]
    pairs = {(m, o) for m in leaves for o in inner(m) if room(o) in LEAVES}
    assert not {(m, o) for m, o in pairs if room(m) != room(o)}


def test_the_grid_is_a_leaf():
    assert not inner(GRID)


def test_studies_and_comparisons_know_nothing_of_each_other():
    beside = ("studies", "comparing")
    pairs = {(m, o) for m in MODULES if room(m) in beside for o in inner(m) if room(o) in beside}
    assert not {(m, o) for m, o in pairs if room(m) != room(o)}


def test_a_study_never_imports_another_study():
    folders = tuple(f"medtransfer.studies.{name}" for name in STUDIES)
    study = {module: module.split(".")[2] for module in MODULES if module.startswith(folders)}
    assert not {(m, o) for m in study for o in inner(m) if o in study and study[o] != study[m]}


@pytest.mark.parametrize(("library", "owner"), OWNERS.items())
def test_a_library_that_could_be_replaced_is_imported_in_one_room(library, owner):
    users = {module for module in MODULES if library in imports()[module]}
    assert {room(module) for module in users} <= {owner}


def test_metrics_need_no_torch():
    assert not {module for module in MODULES if room(module) == "evaluation" and "torch" in imports()[module]}


def test_no_import_cycle():
    graph = {module: inner(module, types=False) for module in MODULES}
    assert set(MODULES) <= set(TopologicalSorter(graph).static_order())  # a cycle has no order: CycleError names it


@pytest.mark.parametrize("module", [m for m in MODULES if m not in {MODELS_FROM_CODE, "medtransfer.__main__"}])
def test_nothing_is_done_at_import(module):
    allowed = CALLED_AT_IMPORT | records()
    calls = {
        f"{ast.unparse(node.func)[:40]} in line {node.lineno}"
        for node in at_import(module)
        if isinstance(node, ast.Call) and not {ast.unparse(node.func), last_name(node.func)} & allowed
    }
    loops = {f"loop in line {n.lineno}" for n in tree(module).body if isinstance(n, (ast.For, ast.While, ast.With))}
    assert not calls | loops, f"{module}: {sorted(calls | loops)}"


def last_name(function):
    """The method's name of a call on a literal or constant: ``"a b".split()``."""
    plain = isinstance(function, ast.Attribute) and not (
        isinstance(function.value, ast.Name) and function.value.id.islower()
    )
    return function.attr if plain else ""


def test_every_import_says_its_whole_name():
    assert not {m for m in MODULES for n in ast.walk(tree(m)) if isinstance(n, ast.ImportFrom) and n.level}


def test_the_models_from_code_file_is_imported_by_nobody():
    assert not {module for module in MODULES if MODELS_FROM_CODE in inner(module)}


@pytest.mark.parametrize("module", MODULES)
def test_modules_and_functions_stay_readable(module):
    assert len(FILES[module].read_text(encoding="utf-8").splitlines()) <= 300
    functions = [n for n in ast.walk(tree(module)) if isinstance(n, (ast.FunctionDef, ast.AsyncFunctionDef))]
    assert not {f"{node.name}: {lines(node)} lines" for node in functions if lines(node) > 40}


def lines(function):
    """Lines of a function without its docstring."""
    text = ast.get_docstring(function, clean=False)
    return function.end_lineno - function.lineno + 1 - (len(text.splitlines()) if text else 0)
