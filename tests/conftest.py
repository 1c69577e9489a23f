"""What all tests share. With ``MEDTRANSFER_NO_SKIP`` a test that is skipped fails, unless it needs a CUDA device."""

import ast
import os
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
pytest_plugins = ("cell_fixtures", "report_fixtures")
MAY_BE_SKIPPED = "needs a CUDA device"
"""The reason of a skip that no installed program can cure."""


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item, call):
    report = yield
    if report.skipped and not hasattr(report, "wasxfail") and os.environ.get("MEDTRANSFER_NO_SKIP"):
        refuse_skip(report)
    return report


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report(collector):
    """A whole module can be skipped while it is collected."""
    report = yield
    if report.skipped and os.environ.get("MEDTRANSFER_NO_SKIP"):
        refuse_skip(report)
    return report


def refuse_skip(report):
    reason = report.longrepr[2].removeprefix("Skipped: ")
    if reason != MAY_BE_SKIPPED:
        report.outcome = "failed"
        report.longrepr = f"skipped ({reason}), which MEDTRANSFER_NO_SKIP forbids"


@pytest.fixture(autouse=True)
def same_draws():
    """What a test draws without a generator of its own does not depend on the tests before it."""
    if torch := sys.modules.get("torch"):
        torch.manual_seed(0)


class Sources:
    """The package's modules as syntax trees, and who imports whom."""

    def __init__(self, source):
        files = sorted((source / "medtransfer").rglob("*.py"))
        names = [".".join(f.relative_to(source).with_suffix("").parts).removesuffix(".__init__") for f in files]
        self.files = dict(zip(names, files, strict=True))
        self._trees = {name: ast.parse(file.read_text(encoding="utf-8")) for name, file in self.files.items()}

    def tree(self, module):
        return self._trees[module]

    def imported(self, module, *, types=True):
        """Dotted names that a module imports, inside functions too; ``types=False`` without those for annotations."""
        names, hidden = set(), set() if types else self._for_annotations(module)
        for node in ast.walk(self.tree(module)):
            if isinstance(node, ast.Import) and node not in hidden:
                names |= {alias.name for alias in node.names}
            if isinstance(node, ast.ImportFrom) and node not in hidden:
                assert node.level == 0, f"{module}: relative import in line {node.lineno}"
                names |= {f"{node.module}.{alias.name}" for alias in node.names}
        return names

    def inner(self, module, *, types=True):
        """Modules of this package that a module imports."""
        found = set()
        for name in self.imported(module, types=types):
            while name.startswith("medtransfer") and name not in self.files:
                name = name.rpartition(".")[0]
            if name.startswith("medtransfer."):
                found.add(name)
        return found - {module}

    def at_import(self, module):
        """Nodes that are evaluated when the module is imported: all but the bodies of functions."""
        waiting = [self.tree(module)]
        while waiting:
            node = waiting.pop()
            yield node
            if isinstance(node, ast.FunctionDef):
                waiting += [*node.decorator_list, *node.args.defaults, *filter(None, node.args.kw_defaults)]
            elif not isinstance(node, ast.Lambda):
                waiting += ast.iter_child_nodes(node)

    def records(self):
        """Names of classes that only hold values: dataclasses, configurations, named tuples."""
        classes = [n for tree in self._trees.values() for n in ast.walk(tree) if isinstance(n, ast.ClassDef)]
        holding = {"Config", "NamedTuple"}
        for _ in range(4):  # levels of inheritance
            holding |= {c.name for c in classes if holding & {ast.unparse(base) for base in c.bases}}
        marked = {c.name for c in classes if any("dataclass" in ast.unparse(d) for d in c.decorator_list)}
        return holding | marked

    def _for_annotations(self, module):
        blocks = [
            n for n in ast.walk(self.tree(module)) if isinstance(n, ast.If) and "TYPE_CHECKING" in ast.unparse(n.test)
        ]
        return {node for block in blocks for node in ast.walk(block)}


@pytest.fixture(scope="session")
def checkout():
    return ROOT


@pytest.fixture(scope="session")
def sources():
    return Sources(ROOT / "src")
