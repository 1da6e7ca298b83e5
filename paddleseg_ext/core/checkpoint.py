"""Checkpoints in PaddleSeg's layout. An interrupted run never leaves an incomplete one.

<save_dir>/iter_<n>/model.pdparams, model.pdopt, model.pdstates [, ema_model.pdparams]
<save_dir>/best_model/model.pdparams, model.pdstates
<save_dir>/ema_best_model/ema_model.pdparams, ema_model.pdstates
"""

import errno
import os
import re
import shutil
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import paddle
from paddle import nn

from paddleseg_ext.weights import SETTINGS_KEY, load_weights, read_name_table, read_pdparams, settings_of
from paddleseg_ext_runtime.errors import CheckpointError, ConfigError

_ITER_DIR = re.compile(r"iter_(\d+)$")
# A part of the names under which each optimizer keeps its state of a parameter, once that had a gradient.
_STATE_OF = {
    paddle.optimizer.AdamW: "_moment1_",
    paddle.optimizer.Adam: "_moment1_",
    paddle.optimizer.Momentum: "_velocity_",
}
_WRITTEN, _REPLACED = "being_written", "being_replaced"


@dataclass
class TrainingState:
    """The state of a run, apart from weights and optimizer."""

    iteration: int = 0
    seed: int = 0
    best_miou: float = -1.0
    best_iteration: int = -1
    best_ema_miou: float = -1.0
    intervals_without_gain: int = 0


def save_folder(folder: Path, files: dict[str, Any]) -> None:
    """Writes `files` (name -> content for `paddle.save`) as one folder that appears complete or not at all.

    An existing folder is replaced. Raises ConfigError when the disk is full or not writable; the old folder is then
    restored. If the process is killed in between, `recover` restores it.
    """
    temporary, old = (folder.with_name(f".{folder.name}.{kind}") for kind in (_WRITTEN, _REPLACED))
    try:
        shutil.rmtree(temporary, ignore_errors=True)
        temporary.mkdir(parents=True)
        for name, content in files.items():
            paddle.save(content, str(temporary / name))
            _sync(temporary / name)
        if folder.exists():
            folder.rename(old)
        temporary.rename(folder)
        _sync(folder.parent)
        shutil.rmtree(old, ignore_errors=True)
    except OSError as error:
        recover(folder.parent)
        reason = "the disk is full" if error.errno == errno.ENOSPC else error.strerror
        raise ConfigError(f"cannot save {folder}: {reason}; earlier checkpoints are untouched") from error


def recover(save_dir: Path) -> None:
    """Cleans up after an interrupted save: the old folder is restored unless the new one is complete."""
    for leftover in [path for kind in (_WRITTEN, _REPLACED) for path in save_dir.glob(f".*.{kind}")]:
        stem, _, kind = leftover.name.removeprefix(".").rpartition(".")
        if kind == _REPLACED and not (save_dir / stem).exists():
            leftover.rename(save_dir / stem)
        else:
            shutil.rmtree(leftover, ignore_errors=True)


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    os.fsync(descriptor)
    os.close(descriptor)


def saved_iterations(save_dir: Path, up_to: int | None = None) -> list[Path]:
    """The `iter_<n>` folders of a run, oldest first; with `up_to`, none of a later iteration."""
    folders = {int(match[1]): path for path in save_dir.glob("iter_*") if (match := _ITER_DIR.search(path.name))}
    return [folders[number] for number in sorted(folders) if up_to is None or number <= up_to]


def weights_to_save(model: nn.Layer) -> dict[str, Any]:
    """The content of a .pdparams file: the tensors and, if the network has any, its settings."""
    settings = settings_of(model)
    return {**model.state_dict(), **({SETTINGS_KEY: settings} if settings else {})}


def state_to_save(state: TrainingState, miou: float | None, accuracy: float | None) -> dict[str, Any]:
    """The content of a .pdstates file: PaddleSeg's keys and ours."""
    return {"mIoU": miou, "Acc": accuracy, "iter": state.iteration, **asdict(state)}


def resume(
    folder: str | Path, model: nn.Layer, optimizer: paddle.optimizer.Optimizer, ema_model: nn.Layer | None
) -> TrainingState:
    """Loads an `iter_<n>` folder, ours or PaddleSeg's, into model, optimizer and EMA; returns the state of the run.

    A folder of PaddleSeg's holds no state of ours: the iteration is then read from its name, and the best
    scores and the order of the data start again. Raises CheckpointError when the folder cannot be resumed from.
    """
    folder = Path(folder)
    for name in ("model.pdparams", "model.pdopt"):
        if not (folder / name).is_file():
            raise CheckpointError(
                f"cannot resume from {folder}: {name} is missing; give an iter_<n> folder of a run "
                "(best_model holds weights only: start from it with --opts model.pretrained=…)"
            )
    load_weights(model, folder / "model.pdparams")
    _load_optimizer(folder, model, optimizer)
    if ema_model is not None:
        ema_file = folder / "ema_model.pdparams"
        load_weights(ema_model, ema_file if ema_file.is_file() else folder / "model.pdparams")
    return _read_state(folder)


def _load_optimizer(folder: Path, model: nn.Layer, optimizer: paddle.optimizer.Optimizer) -> None:
    """Loads the optimizer under new keys: a counter in each process names the parameters, so old names differ."""
    state = read_pdparams(folder / "model.pdopt")
    written = read_name_table(folder / "model.pdparams")
    current = {name: parameter.name for name, parameter in model.state_dict().items()}
    # Longer names first: conv2d_1.w_0 is also the beginning of conv2d_1.w_0_1.
    renamed = sorted(
        ((old, current[name]) for name, old in written.items() if name in current), key=lambda p: -len(p[0])
    )
    translated = {}
    for key, value in state.items():
        new = next((now + key[len(old) :] for old, now in renamed if key.startswith(f"{old}_")), key)
        translated[new] = value
    expected = next((kind for cls, kind in _STATE_OF.items() if isinstance(optimizer, cls)), "")
    try:
        if not any(expected in key for key in translated):
            raise KeyError(f"it holds no {expected.strip('_')}, which {type(optimizer).__name__} needs")
        optimizer.set_state_dict(translated)
    except (KeyError, AssertionError, ValueError) as error:
        raise CheckpointError(
            f"{folder}/model.pdopt is of another optimizer or lr_scheduler than the config's: {error}. "
            "Resume with the config it was trained with"
        ) from error


def _read_state(folder: Path) -> TrainingState:
    path = folder / "model.pdstates"
    content = read_pdparams(path) if path.is_file() else {}
    fields = {key: value for key, value in content.items() if key in TrainingState.__dataclass_fields__}
    if "iteration" in fields:
        return TrainingState(**fields)
    match = _ITER_DIR.search(folder.resolve().name)
    iteration = content.get("iter", int(match[1]) if match else None)
    if iteration is None:
        raise CheckpointError(
            f"cannot tell the iteration of {folder}: it holds no model.pdstates and is not named iter_<n>"
        )
    return TrainingState(iteration=int(iteration))
