"""Checkpoints in PaddleSeg's layout, written so that an interrupted run never leaves half of one.

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

from paddleseg_ext.errors import CheckpointError, ConfigError
from paddleseg_ext.weights import load_weights, read_pdparams

_ITER_DIR = re.compile(r"iter_(\d+)$")


@dataclass
class TrainingState:
    """What a run knows besides weights and optimizer."""

    iteration: int = 0
    seed: int = 0
    best_miou: float = -1.0
    best_iteration: int = -1
    best_ema_miou: float = -1.0
    intervals_without_gain: int = 0


def save_folder(folder: Path, files: dict[str, Any]) -> None:
    """Writes `files` (name -> what `paddle.save` takes) as one folder that appears complete or not at all.

    A folder of that name is replaced. Raises ConfigError when the disk is full or not writable; what was
    there before is then still there.
    """
    temporary = folder.with_name(f".{folder.name}.tmp-{os.getpid()}")
    old = folder.with_name(f".{folder.name}.old-{os.getpid()}")
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
        shutil.rmtree(temporary, ignore_errors=True)
        reason = "the disk is full" if error.errno == errno.ENOSPC else error.strerror
        raise ConfigError(f"cannot save {folder}: {reason}; earlier checkpoints are untouched") from error


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    os.fsync(descriptor)
    os.close(descriptor)


def saved_iterations(save_dir: Path) -> list[Path]:
    """The `iter_<n>` folders of a run, oldest first."""
    folders = [path for path in save_dir.glob("iter_*") if _ITER_DIR.search(path.name)]
    return sorted(folders, key=lambda path: int(_ITER_DIR.search(path.name)[1]))


def rotate(save_dir: Path, keep: int) -> None:
    """Removes the oldest `iter_<n>` folders beyond `keep`; 0 keeps all."""
    if keep > 0:
        for folder in saved_iterations(save_dir)[:-keep]:
            shutil.rmtree(folder)


def state_to_save(state: TrainingState, miou: float | None, accuracy: float | None) -> dict[str, Any]:
    """The content of a .pdstates file: PaddleSeg's keys and ours."""
    return {"mIoU": miou, "Acc": accuracy, "iter": state.iteration, **asdict(state)}


def resume(
    folder: str | Path, model: nn.Layer, optimizer: paddle.optimizer.Optimizer, ema_model: nn.Layer | None
) -> TrainingState:
    """Loads an `iter_<n>` folder, ours or PaddleSeg's, into model, optimizer and EMA; returns where it was.

    A folder of PaddleSeg's holds no state of ours: the iteration is then read from its name, and best
    scores start anew. Raises CheckpointError when the folder cannot be resumed from.
    """
    folder = Path(folder)
    for name in ("model.pdparams", "model.pdopt"):
        if not (folder / name).is_file():
            raise CheckpointError(
                f"cannot resume from {folder}: {name} is missing; give an iter_<n> folder of a run "
                "(best_model holds weights only: start from it with --opts model.pretrained=…)"
            )
    load_weights(model, folder / "model.pdparams")
    optimizer.set_state_dict(read_pdparams(folder / "model.pdopt"))
    if ema_model is not None:
        ema_file = folder / "ema_model.pdparams"
        load_weights(ema_model, ema_file if ema_file.is_file() else folder / "model.pdparams")
    return _read_state(folder)


def _read_state(folder: Path) -> TrainingState:
    path = folder / "model.pdstates"
    content = read_pdparams(path) if path.is_file() else {}
    known = {key: value for key, value in content.items() if key in TrainingState.__dataclass_fields__}
    if "iteration" in known:
        return TrainingState(**known)
    match = _ITER_DIR.search(folder.resolve().name)
    iteration = content.get("iter", int(match[1]) if match else None)
    if iteration is None:
        raise CheckpointError(
            f"cannot tell the iteration of {folder}: it holds no model.pdstates and is not named iter_<n>"
        )
    return TrainingState(iteration=int(iteration))
