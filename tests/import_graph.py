"""The imports of the project's own Python files, read from their syntax trees. Nothing is imported."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

# Import name -> folder that must hold it. The last part of each folder is the import name.
PACKAGES = {
    "paddleseg_ext_runtime": "paddleseg_ext_runtime",
    "paddleseg_ext": "paddleseg_ext",
    "paddleseg_ext_tools": "paddleseg_ext_tools",
    "paddleseg_lite": "deploy/lite/paddleseg_lite",
}
# Folders of scripts, which import their neighbours by bare name.
SCRIPTS = ("tools", "deploy/lite", "deploy/python", "deploy/serving", "benchmarks")


@dataclass(frozen=True)
class Arrow:
    """One import: `source` imports `target`, both module names; `where` is `file:line`."""

    source: str
    target: str
    where: str


class ImportGraph:
    """All first-party imports below `root`, those inside functions included.

    A module of a package has its dotted import name; a script has its path, such as `deploy/serving/app`.
    """

    def __init__(self, root: Path) -> None:
        self.root = root
        self.files: dict[str, Path] = {}
        for package, folder in PACKAGES.items():
            for path in sorted((root / folder).rglob("*.py")):
                parts = [package, *path.relative_to(root / folder).with_suffix("").parts]
                self.files[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
        for folder in SCRIPTS:
            for path in sorted((root / folder).glob("*.py")):
                self.files[f"{folder}/{path.stem}"] = path
        self.unresolved: list[str] = []
        self.arrows = [arrow for source in self.files for arrow in self._arrows_of(source)]

    def _arrows_of(self, source: str) -> Iterator[Arrow]:
        path = self.files[source]
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"), filename=str(path))):
            for name in self._imported_names(node, source):
                target = self._module_of(name, source)
                where = f"{path.relative_to(self.root)}:{node.lineno}"
                if target is None and name.startswith("paddleseg_"):
                    self.unresolved.append(f"{where}: no file of its name holds {name}")
                elif target not in (None, source):
                    yield Arrow(source, target, where)

    def _imported_names(self, node: ast.AST, source: str) -> list[str]:
        if isinstance(node, ast.Import):
            return [alias.name for alias in node.names]
        if not isinstance(node, ast.ImportFrom):
            return []
        base = node.module or ""
        if node.level:
            package = source.split(".")
            depth = node.level - (self.files[source].name == "__init__.py")
            base = ".".join([*package[: len(package) - depth], *([base] if base else [])])
        return [f"{base}.{alias.name}" for alias in node.names]

    def _module_of(self, name: str, source: str) -> str | None:
        """The longest part of an imported name that is a module here; a script's neighbour where there is one."""
        if "/" in source and (neighbour := f"{source.rpartition('/')[0]}/{name.split('.')[0]}") in self.files:
            return neighbour
        while name and name not in self.files:
            name = name.rpartition(".")[0]
        return name or None

    def circles(self) -> list[list[str]]:
        """Groups of files that import each other, directly or in a ring (Tarjan's strongly connected components)."""
        targets: dict[str, list[str]] = {name: [] for name in self.files}
        for arrow in self.arrows:
            targets[arrow.source].append(arrow.target)
        number: dict[str, int] = {}
        lowest: dict[str, int] = {}
        stack: list[str] = []
        circles: list[list[str]] = []

        def visit(name: str) -> None:
            number[name] = lowest[name] = len(number)
            stack.append(name)
            for target in targets[name]:
                if target not in number:
                    visit(target)
                    lowest[name] = min(lowest[name], lowest[target])
                elif target in stack:
                    lowest[name] = min(lowest[name], number[target])
            if lowest[name] == number[name]:
                start = stack.index(name)
                if len(stack) - start > 1:
                    circles.append(sorted(stack[start:]))
                del stack[start:]

        for name in self.files:
            if name not in number:
                visit(name)
        return circles
