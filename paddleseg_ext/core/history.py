"""The reports of a run: log lines, VisualDL scalars and `history.jsonl`."""

import json
from collections.abc import Sequence
from pathlib import Path

from paddleseg_ext.core.metrics import Metrics
from paddleseg_ext_runtime.log import get_logger
from paddleseg_ext_runtime.progress import duration

HISTORY_FILE = "history.jsonl"


class History:
    """Collects losses and times between two log lines and writes their means.

    Only the first rank reports. VisualDL tags are PaddleSeg's.
    """

    def __init__(self, save_dir: Path, iters: int, iters_per_epoch: int, batch_size: int, use_vdl: bool, silent: bool):
        self.path = save_dir / HISTORY_FILE
        self.iters, self.iters_per_epoch, self.batch_size = iters, iters_per_epoch, batch_size
        self.silent = silent
        self.is_first_report = True
        self.writer = None
        if use_vdl and not silent:
            from visualdl import LogWriter  # imports a web server; only when asked for

            self.writer = LogWriter(str(save_dir))
        self._reset()

    def _reset(self) -> None:
        self.losses: list[Sequence[float]] = []
        self.reader_seconds = self.seconds = 0.0

    def record(self, losses: Sequence[float], reader_seconds: float, seconds: float) -> None:
        """Adds one iteration: the terms of its loss, the seconds it waited for data, and its seconds in total."""
        self.losses.append(losses)
        self.reader_seconds += reader_seconds
        self.seconds += seconds

    def log_training(self, iteration: int, lr: float) -> None:
        """Reports the mean since the last report."""
        count = max(len(self.losses), 1)
        terms = [sum(column) / count for column in zip(*self.losses, strict=True)]
        loss, batch_cost = sum(terms), self.seconds / count
        reader_cost, ips = self.reader_seconds / count, self.batch_size / batch_cost
        self._reset()
        self.is_first_report = False
        if self.silent:
            return
        get_logger().info(
            "[TRAIN] epoch: %d, iter: %d/%d, loss: %.4f, lr: %.6f, batch_cost: %.4f, reader_cost: %.5f, "
            "ips: %.4f samples/sec | ETA %s",
            (iteration - 1) // self.iters_per_epoch + 1, iteration, self.iters, loss, lr, batch_cost,
            reader_cost, ips, duration((self.iters - iteration) * batch_cost),
        )  # fmt: skip
        scalars = {"loss": loss, "lr": lr, "batch_cost": batch_cost, "reader_cost": reader_cost}
        if len(terms) > 1:
            scalars.update({f"loss_{i}": term for i, term in enumerate(terms)})
        self._scalars("Train", scalars, iteration)
        self._append({"kind": "train", "iter": iteration, "loss": loss, "lr": lr, "images_per_second": ips})

    def log_evaluation(self, iteration: int, metrics: Metrics, prefix: str = "") -> None:
        """Reports metrics; `prefix` is 'Ema_' for the averaged weights."""
        if self.silent:
            return
        get_logger().info("[EVAL] %siter %d: %s", "EMA, " if prefix else "", iteration, metrics.summary())
        self._scalars("Evaluate", {f"{prefix}mIoU": metrics.miou, f"{prefix}Acc": metrics.accuracy}, iteration)
        self._append({
            "kind": "eval", "iter": iteration, "ema": bool(prefix), "miou": metrics.miou,
            "miou_all_classes": metrics.miou_all_classes, "accuracy": metrics.accuracy,
        })  # fmt: skip

    def _scalars(self, group: str, values: dict[str, float], iteration: int) -> None:
        if self.writer is not None:
            for name, value in values.items():
                self.writer.add_scalar(f"{group}/{name}", value, iteration)

    def _append(self, row: dict) -> None:
        with self.path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(row) + "\n")

    def close(self) -> None:
        """Flushes VisualDL."""
        if self.writer is not None:
            self.writer.close()
