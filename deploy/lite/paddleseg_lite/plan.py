"""Stage 1: finds the models in `models_dir` and the settings that each needs."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from paddleseg_lite.deploy_yaml import read_deploy
from paddleseg_lite.errors import DataError

MODEL_FILE = "model.pdmodel"
PARAM_FILES = ("model.pdiparams", "mdoel.pdiparams")  # the second is the published example's misspelling
AS_CONVERTED = "as converted"
EXPECTED_TREE = """models_dir
      ├── pp_mobileseg_base        one folder per model, as tools/export.py writes it
      │   ├── model.pdmodel
      │   ├── model.pdiparams
      │   └── deploy.yaml
      └── another_model.nb         or a file opt has already converted"""


@dataclass(frozen=True)
class Case:
    """One model with one precision and number of threads. A converted model's precision is always `AS_CONVERTED`.

    Either `model_file` and `param_file` name a Paddle program, or `nb_file` names a converted one. The other values
    come from deploy.yaml and are None if it lacks them. `input_shape` is NCHW.
    """

    model_name: str
    folder: Path
    model_file: Path | None
    param_file: Path | None
    nb_file: Path | None
    input_shape: tuple[int, ...] | None
    output_op: str | None
    output_dtype: str | None
    threads: int = 1
    precision: str = "fp32"

    def key(self, target: str) -> str:
        """The name of its files, `<model>-<target>-t<threads>`."""
        suffix = "" if self.precision in ("fp32", AS_CONVERTED) else f"-{self.precision}"
        return f"{self.model_name}-{target}-t{self.threads}{suffix}"

    def content_hash(self) -> str:
        """SHA-256 of the content of the model's files; their place does not matter."""
        digest = hashlib.sha256()
        for path in (self.model_file, self.param_file, self.nb_file):
            digest.update(b"-" if path is None else hashlib.sha256(path.read_bytes()).digest())
        return digest.hexdigest()


def find_cases(
    models_dir: Path,
    threads: Sequence[int] = (1,),
    precisions: Sequence[str] = ("fp32",),
    input_shape: tuple[int, ...] | None = None,
) -> list[Case]:
    """Every model of `models_dir`, by name, once for each precision and number of threads.

    `input_shape` is used for models whose deploy.yaml has no shape or a variable one.

    Raises:
        DataError: the folder is missing, it has no usable model, or two models have the same name.
    """
    if not models_dir.is_dir():
        raise DataError(f"{models_dir}: no such folder", EXPECTED_TREE)
    folders = [models_dir, *(entry for entry in sorted(models_dir.iterdir()) if entry.is_dir())]
    found = [model for folder in folders for model in _models_in(folder, input_shape)]
    if not found:
        raise DataError(f"{models_dir}: no model found; it holds {_listing(models_dir)}", EXPECTED_TREE)
    names = [model.model_name for model in found]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise DataError(f"{models_dir}: two models are named {', '.join(twice)}", "one name each")
    return [
        replace(model, threads=count, precision=precision)
        for model in found
        for precision in (precisions if model.nb_file is None else (AS_CONVERTED,))
        for count in threads
    ]


def _models_in(folder: Path, input_shape: tuple[int, ...] | None) -> list[Case]:
    program = folder / MODEL_FILE
    params = next((folder / name for name in PARAM_FILES if (folder / name).is_file()), None)
    description = folder / "deploy.yaml"
    if program.is_file() and params:
        files = [(folder.resolve().name, program, params, None)]
    else:
        ready = sorted(folder.glob("*.nb"))
        single = len(ready) == 1 and description.is_file()
        files = [(folder.resolve().name if single else nb.stem, None, None, nb) for nb in ready]
    deploy = read_deploy(description) if files and description.is_file() else {}
    shape = _fixed_shape(deploy.get("input_shape"), description) or input_shape
    op, dtype = deploy.get("output_op"), deploy.get("output_dtype")
    return [Case(name, folder, *paths, shape, op, dtype) for name, *paths in files]


def _fixed_shape(value: object, where: Path) -> tuple[int, ...] | None:
    if value is None:
        return None
    if not isinstance(value, list) or not all(isinstance(n, int) or n is None for n in value):
        raise DataError(f"{where}: input_shape is {value!r}", "four whole numbers, such as [1, 3, 512, 512]")
    return tuple(value) if all(n is not None and n > 0 for n in value) else None


def _listing(folder: Path, most: int = 12) -> str:
    names = []
    for entry in sorted(folder.iterdir()):
        inside = sorted(p.name for p in entry.iterdir())[:6] if entry.is_dir() else None
        names.append(entry.name if inside is None else f"{entry.name}/{{{', '.join(inside)}}}")
    return "nothing" if not names else ", ".join(names[:most]) + (", …" if len(names) > most else "")
