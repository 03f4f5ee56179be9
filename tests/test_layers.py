"""The map of the rooms (ARCHITECTURE.md) as data, and every import of the package held against it."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

import snapengine

PACKAGE = Path(snapengine.__file__).parent

LAYERS = (
    ("__main__",),
    ("cli",),
    ("rest",),
    ("engine",),
    ("adopting", "forecast", "rebuild", "repair"),
    ("clone", "exporting", "flatten", "grouping", "importing", "preview", "regrouping", "renewal"),
    ("accounts", "credentials", "delete", "diff", "group", "recovery", "remaking", "resize", "shrinking", "sizes",
     "snapshot", "states", "status", "tag", "trash", "undo", "verify", "volume"),
    ("checksums", "discard", "move", "rescue", "steps", "unfinished"),
    ("depth", "health", "lookup", "operation", "remains"),
    ("beginning", "choice", "hold", "outlet"),
    ("conversion", "duplicate", "fate", "plan", "settle", "sources", "standing", "step_plan", "strays", "tidy"),
    ("draft", "reckoning", "resume"),
    ("merge", "removal"),
    ("bitmaps", "caching", "content", "cost", "sound"),
    ("blank", "claims", "clones", "custody", "deleted", "founding", "inside", "maps", "notes", "quota"),
    ("chain", "driver", "imagelock", "journal", "roster", "store"),
    ("durable", "foreign", "lock", "records", "reflink"),
    ("attributes", "called", "inspector", "intent", "tree", "visible"),
    ("checks", "extents"),
    ("clusters", "tables"),
    ("arguments", "bytelock", "command", "layout", "owners", "passwords", "qcow2"),
    ("inventory", "limits", "mounts", "ownership", "presence", "printed"),
    ("spans", "stamps", "translation", "units"),
    ("errors", "version"),
)
ROW = {module: row for row, modules in enumerate(LAYERS) for module in modules}
REST = (
    ("server",),
    ("app",),
    ("board", "desk"),
    ("metrics",),
    ("access", "openapi", "reference", "registry"),
    ("described", "operations"),
    ("hooks", "measured", "replies", "workers"),
    ("message", "shapes", "worker"),
    ("cut_off", "routes"),
    ("doors", "group_calls", "reads", "snapshot_calls", "tag_calls", "volume_calls"),
    ("answers", "authority", "page"),
    ("index", "rows", "said"),
    ("conditions", "schema", "sessions", "sockets", "target", "things"),
    ("bodies", "connection", "examples", "faults", "jobs", "lines", "logins", "options", "pace",
     "signatures", "unsupported"),
)
REST_ROW = {module: row for row, modules in enumerate(REST) for module in modules}
MAPS = {"the map": ("## The map", ROW), "the server": ("### Its modules", REST_ROW)}

# Loaded late, and why; ARCHITECTURE.md says the same.
LATE = {
    "__init__": {"snapengine.engine"},
    "command": {"ctypes", "sh"},
}
FILES = sorted(p for p in PACKAGE.rglob("*.py") if p != PACKAGE / "__init__.py")
REST_FILES = [p for p in FILES if p.parent == PACKAGE / "rest" and p.stem != "__init__"]


def room(path: Path) -> str:
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def imports(node: ast.AST) -> Iterator[str]:
    """Give the full name of every module that one import statement names."""
    if isinstance(node, ast.Import):
        yield from (alias.name for alias in node.names)
    elif isinstance(node, ast.ImportFrom):
        names = [f"{node.module}.{alias.name}" for alias in node.names]
        packages = ("snapengine", "snapengine.cli", "snapengine.rest")
        yield from names if node.module in packages else [str(node.module)]


def own(path: Path, package: str = "snapengine") -> set[str]:
    """Return the rooms of a package that a file imports, also late and for type checks."""
    found = (name for node in ast.walk(ast.parse(path.read_text())) for name in imports(node))
    below = f"{package}."
    return {name.removeprefix(below).partition(".")[0] for name in found if name.startswith(below)}


def test_every_module_has_a_row_in_the_map() -> None:
    assert {room(path) for path in FILES} == set(ROW)
    assert {path.stem for path in REST_FILES} == set(REST_ROW)


@pytest.mark.parametrize("heading, known_rows", MAPS.values(), ids=MAPS.keys())
def test_the_maps_in_the_architecture_page_are_these(heading: str, known_rows: dict[str, int]) -> None:
    page = (PACKAGE.parent / "ARCHITECTURE.md").read_text().partition(f"{heading}\n")[2].partition("\n#")[0]
    rows = [line.split("|")[2] for line in page.splitlines() if re.match(r"\| \d+ \|", line)]
    drawn = {name: row for row, text in enumerate(rows) for name in re.findall(r"`(\w+)`", text)}
    known = {name: row for name, row in known_rows.items() if name != "__main__"}

    assert {name for name in drawn if name != "sh"} == set(known)
    for above in known:
        for below in known:
            if known[above] < known[below]:
                assert drawn[above] <= drawn[below], f"{above} stands below {below}"


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_a_module_imports_only_from_rows_below_its_own(path: Path) -> None:
    here = room(path)
    for target in own(path) - {"__version__", "Engine"} - ({here} if (PACKAGE / here).is_dir() else set()):
        assert ROW[target] > ROW[here], f"{here} imports {target}"


@pytest.mark.parametrize("path", REST_FILES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_a_module_of_the_server_imports_only_from_rows_below_its_own(path: Path) -> None:
    for target in own(path, "snapengine.rest"):
        assert REST_ROW[target] > REST_ROW[path.stem], f"{path.stem} imports {target}"


@pytest.mark.parametrize("path", [*FILES, PACKAGE / "__init__.py"], ids=lambda path: str(path.relative_to(PACKAGE)))
def test_imports_inside_functions_are_those_that_the_map_allows(path: Path) -> None:
    functions = [n for n in ast.walk(ast.parse(path.read_text())) if isinstance(n, ast.FunctionDef)]
    late = {name for function in functions for node in ast.walk(function) for name in imports(node)}

    if room(path) != "cli":
        assert late == LATE.get(room(path), set())


def test_only_command_imports_sh_and_only_durable_changes_names() -> None:
    for path in FILES:
        if room(path) == "cli":
            continue
        text = path.read_text()
        named = {name for node in ast.walk(ast.parse(text)) for name in imports(node)}
        assert path.stem == "command" or "sh" not in named
        for call in ("os.fsync", "os.rename", "os.replace", "os.unlink", "os.link(", "shutil.rmtree"):
            assert path.stem == "durable" or call not in text, f"{path.name} calls {call}"


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_a_module_has_at_most_250_lines_and_a_function_30(path: Path) -> None:
    text = path.read_text()
    assert len(text.splitlines()) <= 250
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.FunctionDef):
            first = node.body[1] if ast.get_docstring(node) and len(node.body) > 1 else node.body[0]
            assert (node.end_lineno or 0) - first.lineno + 1 <= 30, f"{node.name} in {path.name}"
