"""Packages that a room may use, and the limits of size and style, read from the syntax trees of the repository.

`test_import_arrows.py` holds the imports between our own files. Every failure lists `file:line: what`. Nothing is
imported, so this also judges files that cannot run yet.
"""

from __future__ import annotations

import ast
import re
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
LIBRARY, TOOLS, RUNTIME = "paddleseg_ext", "paddleseg_ext_tools", "paddleseg_ext_runtime"
LITE, SERVING = "deploy/lite", "deploy/serving"
SOURCES = (LIBRARY, RUNTIME, TOOLS, "tools", "deploy", "tests", "benchmarks", "setup.py")
PUBLIC_SOURCES = (LIBRARY, RUNTIME, TOOLS, "deploy")
MAX_FILE, MAX_FUNCTION, MAX_LIBRARY = 400, 60, 8000

RUN_BY = {"paddle", "onnxruntime", "openvino", "paddlelite", "MNN"}  # imported inside the functions that need one
# Third-party packages a room is confined to. Rooms not named are free.
THIRD_PARTY = {
    "models.layers": {"paddle", "numpy"},
    LITE: {"numpy", "cv2", "paddlelite", "yaml"},
    RUNTIME: {"numpy", "cv2", "PIL", "yaml", "rich", *RUN_BY},
    SERVING: {"numpy", "cv2", "h11", "prometheus_client", "starlette", "uvicorn", RUNTIME},
}
BANNED_NAMES = {"eval", "exec"}
BANNED_ATTRIBUTES = {("yaml", "load"), ("pickle", "load"), ("pickle", "loads"), ("os", "system")}

Function = ast.FunctionDef | ast.AsyncFunctionDef


def python_files(*sources: str) -> list[Path]:
    found = []
    for source in sources:
        path = ROOT / source
        found += sorted(path.rglob("*.py")) if path.is_dir() else [path] * path.is_file()
    return found


@cache
def tree_of(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"), filename=str(path))


def at(path: Path, node: ast.AST | int, what: str) -> str:
    line = node if isinstance(node, int) else node.lineno
    return f"{path.relative_to(ROOT)}:{line}: {what}"


def report(problems: list[str]) -> None:
    if problems:
        pytest.fail("\n".join(problems), pytrace=False)


def module_of(path: Path) -> str:
    """The dotted name a file is imported by: paddleseg_ext.models.base, paddleseg_ext_tools.commands.train."""
    parts = list(path.relative_to(ROOT).with_suffix("").parts)
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def imports(path: Path) -> Iterator[tuple[ast.AST, str]]:
    """Every import of a file, nested ones too, as absolute dotted names, the imported name included."""
    package = module_of(path).split(".")
    if path.name != "__init__.py":
        package = package[:-1]
    for node in ast.walk(tree_of(path)):
        if isinstance(node, ast.Import):
            yield from ((node, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else []
            base = [*base, *([node.module] if node.module else [])]
            yield from ((node, ".".join([*base, alias.name])) for alias in node.names)


def inside(name: str, prefix: str) -> bool:
    return name == prefix or name.startswith(prefix + ".")


def test_models_receive_a_backbone() -> None:
    """No architecture imports one; models/__init__.py does, to register them."""
    problems = []
    for path in python_files(f"{LIBRARY}/models"):
        if path.parent.name == "models" and path.name != "__init__.py":
            wrong = [hit for hit in imports(path) if inside(hit[1], f"{LIBRARY}.models.backbones")]
            problems += [at(path, node, f"a model imports {target}") for node, target in wrong]
    report(problems)


def test_models_know_no_config() -> None:
    """Of paddleseg.cvlibs, models use the manager and param_init; Config and builder are not for them."""
    known = {"paddleseg.cvlibs.manager", "paddleseg.cvlibs.param_init"}
    problems = []
    for path in python_files(f"{LIBRARY}/models"):
        for node, target in imports(path):
            if inside(target, "paddleseg.cvlibs") and not any(inside(target, one) for one in known):
                problems.append(at(path, node, f"a model imports {target}"))
            if inside(target, "paddleseg.core"):
                problems.append(at(path, node, f"a model imports {target}"))
    report(problems)


def test_third_party_imports() -> None:
    """Layers know paddle alone; deploy/lite can be copied to a machine without paddle or this library.

    The server leaves paddle and the runtimes to its child processes.
    """
    problems = []
    for room, allowed in THIRD_PARTY.items():
        folder = ROOT / (f"{LIBRARY}/{room.replace('.', '/')}" if room.startswith("models") else room)
        files = python_files(str(folder.relative_to(ROOT)))
        neighbours = {path.stem for path in files} | {path.name for path in folder.glob("*/")}
        own = {LITE: neighbours, SERVING: neighbours, RUNTIME: {RUNTIME}}.get(room, {LIBRARY, RUNTIME})
        for path in files:
            for node, target in imports(path):
                top = target.split(".")[0]
                # `from . import x` in deploy/lite resolves to deploy.lite.x.
                relative = room == LITE and inside(target, "deploy.lite")
                if not (top in sys.stdlib_module_names | allowed | own | {"__future__"} or relative):
                    problems.append(at(path, node, f"{room} may not import {target}"))
    report(problems)


def test_the_runtime_starts_without_a_framework() -> None:
    """What is imported at the top of its files is small; a runtime is loaded by whoever runs one."""
    problems = []
    for path in python_files(RUNTIME):
        top = [node for node in tree_of(path).body if isinstance(node, ast.Import | ast.ImportFrom)]
        for node, target in imports(path):
            if node in top and target.split(".")[0] in RUN_BY:
                problems.append(at(path, node, f"imports {target} at the top"))
    report(problems)


def test_sizes() -> None:
    """Files, functions and the whole library stay small enough to read."""
    problems = []
    for path in python_files(*SOURCES):
        lines = len(path.read_text(encoding="utf-8").splitlines())
        if lines > MAX_FILE:
            problems.append(at(path, 1, f"{lines} lines, at most {MAX_FILE}"))
        for node in ast.walk(tree_of(path)):
            if isinstance(node, Function) and node.end_lineno - node.lineno + 1 > MAX_FUNCTION:
                size = node.end_lineno - node.lineno + 1
                problems.append(at(path, node, f"{node.name}() has {size} lines, at most {MAX_FUNCTION}"))
    total = sum(len(path.read_text(encoding="utf-8").splitlines()) for path in python_files(LIBRARY))
    if total > MAX_LIBRARY:
        problems.append(f"{LIBRARY}: {total} lines, at most {MAX_LIBRARY}")
    report(problems)


def public(body: list[ast.stmt], prefix: str = "") -> Iterator[tuple[ast.AST, str]]:
    """Public functions and classes of a module and their public methods, `__init__` included."""
    for node in body:
        if isinstance(node, Function | ast.ClassDef):
            if node.name.startswith("_") and not (prefix and node.name == "__init__"):
                continue
            yield node, prefix + node.name
            if isinstance(node, ast.ClassDef):
                yield from public(node.body, f"{node.name}.")


def missing_annotations(node: Function, method: bool) -> list[str]:
    """Arguments without a type, and `return` (which `__init__` may leave out)."""
    given = [*node.args.posonlyargs, *node.args.args]
    static = any(isinstance(one, ast.Name) and one.id == "staticmethod" for one in node.decorator_list)
    given = given[1:] if method and not static else given
    rest = [one for one in (node.args.vararg, node.args.kwarg) if one]
    missing = [one.arg for one in [*given, *node.args.kwonlyargs, *rest] if one.annotation is None]
    return missing + ["return"] * (node.returns is None and node.name != "__init__")


def test_public_names_are_annotated_and_documented() -> None:
    """Types on arguments and results; a docstring on everything public; shapes in that of `forward`."""
    problems = []
    for path in python_files(*PUBLIC_SOURCES):
        for node, name in public(tree_of(path).body):
            doc = ast.get_docstring(node)
            if not doc and not name.endswith("__init__"):
                problems.append(at(path, node, f"{name} has no docstring"))
            if doc and name.endswith(".forward") and not re.search(r"\[[^\]]+\]", doc):
                problems.append(at(path, node, f"{name}: its docstring gives no shape, such as [B, C, H, W]"))
            if isinstance(node, Function) and (missing := missing_annotations(node, method="." in name)):
                problems.append(at(path, node, f"{name}: no type for {', '.join(missing)}"))
    report(problems)


def test_nothing_runs_data_as_code() -> None:
    """No eval, exec, shell=True, os.system, and no loader that calls what a file names."""
    problems = []
    for path in python_files(*(source for source in SOURCES if source != "tests")):
        for node, target in imports(path):
            if tuple(target.split(".")) in BANNED_ATTRIBUTES:
                problems.append(at(path, node, f"imports {target}"))
        tree = tree_of(path)
        safe = {node.name for node in ast.walk(tree) if isinstance(node, ast.ClassDef) and is_safe_loader(node)}
        for node in ast.walk(tree):
            if isinstance(node, ast.Call):
                problems += [at(path, node, what) for what in banned(node, safe)]
    report(problems)


def is_safe_loader(node: ast.ClassDef) -> bool:
    return any(ast.unparse(base) in {"yaml.SafeLoader", "yaml.CSafeLoader"} for base in node.bases)


def banned(call: ast.Call, safe_loaders: set[str]) -> Iterator[str]:
    name = ast.unparse(call.func)
    given = {keyword.arg: ast.unparse(keyword.value) for keyword in call.keywords}
    # yaml.load is what a subclass of SafeLoader, written in the same file, has to be used with.
    unsafe = tuple(name.split(".")) in BANNED_ATTRIBUTES and given.get("Loader") not in safe_loaders
    if name in BANNED_NAMES or unsafe:
        yield f"{name}()"
    if given.get("shell", "False") != "False":
        yield "shell=True"
