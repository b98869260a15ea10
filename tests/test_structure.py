"""The rules that the code keeps about itself: where imports point, how long things are, what is said."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from functools import cache
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

from maester.errors import MaesterError, all_codes

ROOT = Path(__file__).resolve().parent.parent
PACKAGE = ROOT / "maester"

MODULE_LINES = 400
FUNCTION_LINES = 60
PARAMETERS = 7

LEVELS: tuple[frozenset[str], ...] = (
    frozenset(
        {
            *("deadlines", "errors", "fingerprint", "ids", "incidents", "inference", "interrupts", "model"),
            *("native", "redaction", "shape", "tracing"),
        }
    ),
    frozenset(
        {"checks", "contracts", "hookspecs", "registration", "settings", "tokens", "tracecontext", "verdicts"}
    ),
    frozenset({"config", "database", "guards", "plugins"}),
    frozenset(
        {
            *("assembly", "attempts", "dialects", "evaluation", "evaluators", "ledger", "logs", "metrics"),
            *("pricing", "providers", "record", "resilience", "router"),
        }
    ),
    frozenset({"stages"}),
    frozenset({"chain"}),
    frozenset({"runtime"}),
    frozenset({"cli", "enrichment", "jobs", "testing", "web"}),
)
"""What may import what: a part imports from its own level and from those above it in this list."""

KEPT_APART = {
    "flask": {"web"},
    "werkzeug": {"web"},
    "gunicorn": {"web", "logs", "cli"},
    "rq": {"web", "jobs", "cli"},
    "redis": {"web", "jobs", "cli"},
    "click": {"cli", "hookspecs"},
    "rich": {"cli"},
    "sqlalchemy": {"cli", "database", "jobs", "ledger", "pricing"},
    "alembic": {"database"},
    "requests": {"jobs", "providers"},
    "urllib3": {"providers"},
    "prometheus_client": {"metrics", "web"},
}
"""Libraries that only some parts may import: what uses them can be replaced there."""


@cache
def modules() -> dict[str, Path]:
    """Every module of the package by its dotted name."""
    found = {}
    for path in sorted(PACKAGE.rglob("*.py")):
        parts = path.relative_to(ROOT).with_suffix("").parts
        found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


@cache
def tree_of(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"))


def shown(path: Path, node: ast.AST | int) -> str:
    line = node if isinstance(node, int) else getattr(node, "lineno", 1)
    return f"{path.relative_to(ROOT)}:{line}"


def part_of(module: str) -> str:
    """The part of the package a module is in: ``maester.web.chat`` → ``web``; the root is empty."""
    return [*module.split("."), ""][1]


def level_of(part: str) -> int | None:
    return next((index for index, level in enumerate(LEVELS) if part in level), None)


def imports_of(name: str, path: Path) -> Iterator[tuple[str, ast.stmt]]:
    """What a module imports when it runs, with the statement; not what only type checkers see."""
    is_package = path.name == "__init__.py"
    for node in _running(tree_of(path)):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield alias.name, node
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                above = name.split(".") if is_package else name.split(".")[:-1]
                above = above[: len(above) - node.level + 1]
                base = ".".join([*above, *([base] if base else [])])
            for alias in node.names:
                whole = f"{base}.{alias.name}"
                yield (whole if whole in modules() else base), node


def _running(node: ast.AST) -> Iterator[ast.AST]:
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.If) and "TYPE_CHECKING" in ast.unparse(child.test):
            for other in child.orelse:
                yield from _running(other)
            continue
        yield child
        yield from _running(child)


def functions_of(path: Path) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef]:
    for node in ast.walk(tree_of(path)):
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            yield node


def test_every_part_has_its_place() -> None:
    parts = {part_of(name) for name in modules()} - {"", "__main__"}
    missing = sorted(part for part in parts if level_of(part) is None)
    assert not missing, f"say in LEVELS where these stand: {missing}"


def test_imports_point_one_way() -> None:
    wrong = []
    for name, path in modules().items():
        own = level_of(part_of(name))
        if own is None:
            continue
        for imported, node in imports_of(name, path):
            other = level_of(part_of(imported)) if imported.startswith("maester.") else None
            if other is not None and other > own:
                wrong.append(
                    f"{shown(path, node)}: {part_of(name)} imports {imported}, which stands above it"
                )
    assert not wrong, "\n".join(wrong)


def test_no_module_imports_itself_through_others() -> None:
    graph: dict[str, set[str]] = {}
    for name, path in modules().items():
        graph[name] = {
            imported
            for imported, _ in imports_of(name, path)
            if imported in modules() and imported != name and not imported.startswith(f"{name}.")
        }
    # A package's own face imports its modules; they may not import that face.
    for name, path in modules().items():
        if path.name == "__init__.py":
            graph[name] |= {each for each, _ in imports_of(name, path) if each.startswith(f"{name}.")}
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as exc:
        pytest.fail("imports go round: " + " → ".join(reversed(exc.args[1])))


def test_libraries_stay_where_they_belong() -> None:
    wrong = [
        f"{shown(path, node)}: {part_of(name) or name} imports {imported}"
        for name, path in modules().items()
        for imported, node in imports_of(name, path)
        for library in [imported.split(".")[0]]
        if library in KEPT_APART and part_of(name) not in KEPT_APART[library]
    ]
    assert not wrong, "\n".join(wrong)


def test_modules_are_short() -> None:
    long = []
    for path in modules().values():
        lines = len(path.read_text(encoding="utf-8").splitlines())
        if lines > MODULE_LINES:
            long.append(f"{shown(path, lines)}: {lines} lines, at most {MODULE_LINES}")
    assert not long, "\n".join(long)


def test_functions_are_short() -> None:
    long = []
    for path in modules().values():
        for function in functions_of(path):
            lines = (function.end_lineno or function.lineno) - function.lineno + 1
            if lines > FUNCTION_LINES:
                long.append(
                    f"{shown(path, function)}: {function.name} has {lines} lines, at most {FUNCTION_LINES}"
                )
    assert not long, "\n".join(long)


def test_functions_take_few_parameters() -> None:
    many = []
    for path in modules().values():
        for function in functions_of(path):
            given = function.args
            names = [each.arg for each in (*given.posonlyargs, *given.args, *given.kwonlyargs)]
            count = len([name for name in names if name not in ("self", "cls")])
            if count > PARAMETERS:
                many.append(f"{shown(path, function)}: {function.name} takes {count}, at most {PARAMETERS}")
    assert not many, "\n".join(many)


def test_the_library_prints_nothing() -> None:
    printed = [
        f"{shown(path, node)}: print()"
        for name, path in modules().items()
        if part_of(name) != "cli"
        for node in ast.walk(tree_of(path))
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "print"
    ]
    assert not printed, "\n".join(printed)


def _undocumented(path: Path) -> Iterator[str]:
    module = tree_of(path)
    if ast.get_docstring(module) is None and module.body:
        yield f"{shown(path, 1)}: the module has no docstring"
    for node in module.body:
        if not isinstance(node, (ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)):
            continue
        if node.name.startswith("_"):
            continue
        if ast.get_docstring(node) is None:
            yield f"{shown(path, node)}: {node.name} has no docstring"


def test_what_is_public_is_documented() -> None:
    missing = [each for path in modules().values() for each in _undocumented(path)]
    assert not missing, "\n".join(missing)


def test_every_error_code_is_documented() -> None:
    page = (ROOT / "docs" / "http-api.md").read_text(encoding="utf-8")
    ours = {code: kind for code, kind in all_codes().items() if kind.__module__.startswith("maester.")}
    missing = [f"{code} ({kind.__name__})" for code, kind in ours.items() if f"`{code}`" not in page]
    assert not missing, f"docs/http-api.md does not list: {', '.join(missing)}"


def test_the_drawing_of_the_error_tree_is_right() -> None:
    import maester.errors

    drawn = maester.errors.__doc__ or ""
    pending = list(MaesterError.__subclasses__())
    while pending:
        kind = pending.pop()
        if not kind.__module__.startswith("maester."):
            continue
        pending.extend(kind.__subclasses__())
        lines = [line.split() for line in drawn.splitlines() if kind.__name__ in line.split()]
        assert lines, f"{kind.__name__} is not in the docstring of maester.errors"
        assert kind.code in lines[0], f"{kind.__name__} is drawn with another code than {kind.code}"
        assert str(kind.http_status) in lines[0], f"{kind.__name__} is drawn with another status"


def _texts() -> Iterator[Path]:
    folders = [ROOT / name for name in ("maester", "tests", "docs", "benchmarks", "plugins", ".ci")]
    suffixes = {".py", ".md", ".toml", ".cfg", ".ini", ".mako", ".html", ".js", ".css", ".sh", ""}
    for folder in folders:
        for path in sorted(folder.rglob("*")):
            if path.is_file() and path.suffix in suffixes and "__pycache__" not in path.parts:
                yield path
    for path in sorted(ROOT.glob("*")):
        if path.is_file() and path.suffix in suffixes and path.name != ".git":  # a file in a linked work tree
            yield path


def test_the_project_stands_on_its_own() -> None:
    """Nothing points to a place on somebody's machine or to a folder beside the project."""
    foreign = ("../" + "shared", "/work" + "/", "/root" + "/", "/tmp" + "/dev", "/home" + "/")
    wrong = []
    for path in _texts():
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
            wrong.extend(f"{shown(path, number)}: {each}" for each in foreign if each in line)
    assert not wrong, "\n".join(wrong)


def test_benchmarks_measure_this_interpreters_maester() -> None:
    """None starts whatever `maester` the PATH has, which may be another installation or none."""
    for path in sorted((ROOT / "benchmarks").rglob("*.py")):
        source = path.read_text(encoding="utf-8")
        assert not re.search(r'\["(maester|gunicorn|granian)"', source), path.name


def test_nothing_is_left_for_later() -> None:
    marks = ("TO" + "DO", "FIX" + "ME", "XX" + "X:")
    wrong = []
    for path in _texts():
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
            wrong.extend(f"{shown(path, number)}: {mark}" for mark in marks if mark in line)
    assert not wrong, "\n".join(wrong)
