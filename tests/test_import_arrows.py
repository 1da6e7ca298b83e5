"""The floor plan of CONTRIBUTING.md: which room may import which, held over the real imports.

paddleseg_ext_runtime -> nothing          paddleseg_lite -> nothing
paddleseg_ext         -> paddleseg_ext_runtime
paddleseg_ext_tools   -> paddleseg_ext, paddleseg_ext_runtime, paddleseg_lite
deploy/*, tools, benchmarks -> packages; nothing imports them
"""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from import_graph import PACKAGES, SCRIPTS, ImportGraph

ROOT = Path(__file__).resolve().parents[1]
RUNTIME, LIBRARY, TOOLS, LITE = PACKAGES
EVERYWHERE = {f"{LIBRARY}.environment", f"{LIBRARY}.version", RUNTIME}
COMPAT = f"{LIBRARY}.compat"  # imports paddle alone
LOGITS_AND_WEIGHTS = {f"{LIBRARY}.registry", f"{LIBRARY}.weights", *EVERYWHERE}
ALL_OF_LIBRARY = {LIBRARY, RUNTIME}

# Room -> what it may import besides itself. The longest prefix of a module's name decides.
ROOMS: dict[str, set[str]] = {
    RUNTIME: set(),
    LITE: set(),
    LIBRARY: {f"{LIBRARY}.datasets", f"{LIBRARY}.models", *EVERYWHERE},  # __init__.py, which registers everything
    f"{LIBRARY}.registry": set(),
    f"{LIBRARY}.environment": set(),
    COMPAT: set(),
    f"{LIBRARY}.version": set(),
    f"{LIBRARY}.weights": EVERYWHERE,
    f"{LIBRARY}.datasets": {f"{LIBRARY}.registry", *EVERYWHERE},
    f"{LIBRARY}.models.layers": EVERYWHERE,
    f"{LIBRARY}.models.losses": {f"{LIBRARY}.models.layers", f"{LIBRARY}.registry", *EVERYWHERE},
    f"{LIBRARY}.models.backbones": {f"{LIBRARY}.models.layers", *LOGITS_AND_WEIGHTS},
    f"{LIBRARY}.models.output_ops": {f"{LIBRARY}.models.layers", *EVERYWHERE},
    f"{LIBRARY}.models": {f"{LIBRARY}.models.{room}" for room in ("layers", "losses", "backbones", "output_ops")}
    | LOGITS_AND_WEIGHTS,
    f"{LIBRARY}.cvlibs": {f"{LIBRARY}.{room}" for room in ("registry", "datasets", "models", "weights")} | EVERYWHERE,
    f"{LIBRARY}.export": {f"{LIBRARY}.models.output_ops", f"{LIBRARY}.weights", COMPAT, *EVERYWHERE},
    f"{LIBRARY}.core": {f"{LIBRARY}.{room}" for room in ("datasets", "models", "weights", "cvlibs")} | EVERYWHERE,
    TOOLS: {f"{LIBRARY}.environment", f"{LIBRARY}.version", LIBRARY, RUNTIME},  # arguments, paths, __main__
    f"{TOOLS}.scenes": ALL_OF_LIBRARY,
    f"{TOOLS}.lab": {f"{TOOLS}.arguments", f"{TOOLS}.paths", f"{TOOLS}.scenes", LITE, *ALL_OF_LIBRARY},
    f"{TOOLS}.comparison": {f"{TOOLS}.{room}" for room in ("arguments", "paths", "scenes", "lab")}
    | {LITE, *ALL_OF_LIBRARY},
    f"{TOOLS}.demonstration": {f"{TOOLS}.{room}" for room in ("arguments", "paths", "scenes", "lab")}
    | {LITE, *ALL_OF_LIBRARY},
    f"{TOOLS}.commands": {TOOLS, LITE, *ALL_OF_LIBRARY},
    "tools": {f"{TOOLS}.commands"},
    "deploy/lite": {LITE},
    "deploy/python": {RUNTIME, f"{TOOLS}.commands"},
    "deploy/serving": {RUNTIME},
    "benchmarks": {TOOLS, LITE, *ALL_OF_LIBRARY},
}
DOORS = ("tools", "deploy/lite")  # folders whose scripts only start a `main`
LONGEST_DOOR = 10


def inside(module: str, room: str) -> bool:
    return module == room or module.startswith((f"{room}.", f"{room}/"))


def room_of(module: str) -> str:
    return max((room for room in ROOMS if inside(module, room)), key=len)


def problems_of(graph: ImportGraph) -> list[str]:
    """What breaks the plan, as `file:line: what`."""
    problems = list(graph.unresolved)
    for arrow in graph.arrows:
        room = room_of(arrow.source)
        target_room = room_of(arrow.target)
        if target_room != room and not any(inside(arrow.target, allowed) for allowed in ROOMS[room]):
            problems.append(f"{arrow.where}: {room} may not import {arrow.target}")
    problems += [f"circle between files: {' -> '.join(circle)}" for circle in graph.circles()]
    return problems


@pytest.fixture(scope="module")
def graph() -> ImportGraph:
    return ImportGraph(ROOT)


def test_every_arrow_points_downwards(graph: ImportGraph) -> None:
    if problems := problems_of(graph):
        pytest.fail("\n".join(problems), pytrace=False)


def test_a_folder_has_the_name_it_is_imported_by(graph: ImportGraph) -> None:
    for package, folder in PACKAGES.items():
        assert Path(folder).name == package
        assert (ROOT / folder / "__init__.py").is_file()
    top_level = {path.parent.name for path in ROOT.glob("*/__init__.py")}
    assert top_level <= set(PACKAGES), "a package at the top level that this plan does not know"
    assert len(graph.arrows) > 500, "the imports were not found"


def test_doors_only_start_a_command(graph: ImportGraph) -> None:
    for module, path in graph.files.items():
        if module.rpartition("/")[0] in DOORS:
            lines = path.read_text(encoding="utf-8").splitlines()
            assert len(lines) <= LONGEST_DOOR, f"{path.relative_to(ROOT)} holds more than the start of a command"


@pytest.mark.parametrize(
    ("file", "line", "expected"),
    [
        (f"{RUNTIME}/log.py", f"import {LIBRARY}.version", f"{RUNTIME} may not import {LIBRARY}.version"),
        (f"{LIBRARY}/models/base.py", f"from {LIBRARY}.cvlibs import config", "may not import paddleseg_ext.cvlibs"),
        (f"{LIBRARY}/weights/atomic.py", f"import {LIBRARY}.weights.reading", "circle between files"),
        (f"{TOOLS}/lab/probe.py", f"from {TOOLS}.commands import train", f"may not import {TOOLS}.commands.train"),
        (f"{PACKAGES[LITE]}/errors.py", f"import {RUNTIME}.log", f"{LITE} may not import {RUNTIME}.log"),
        (f"{TOOLS}/paths.py", "import paddleseg_ext_elsewhere", "no file of its name holds"),
    ],
)
def test_an_arrow_against_the_plan_is_found(tmp_path: Path, file: str, line: str, expected: str) -> None:
    for folder in (*PACKAGES.values(), *SCRIPTS):
        shutil.copytree(
            ROOT / folder, tmp_path / folder, dirs_exist_ok=True, ignore=shutil.ignore_patterns("__pycache__")
        )
    source = tmp_path / file
    source.write_text(f"{source.read_text(encoding='utf-8')}\n{line}\n", encoding="utf-8")
    problems = problems_of(ImportGraph(tmp_path))
    assert any(expected in problem for problem in problems), problems
