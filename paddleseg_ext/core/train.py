"""Training: one loop over batches, with evaluation, checkpoints and an optional moving average of the weights."""

import copy
import math
import shutil
import time
import warnings
from contextlib import nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import paddle
from paddle import Tensor, nn
from paddleseg.utils.train_profiler import add_profiler_step

from paddleseg_ext.core import checkpoint
from paddleseg_ext.core.distributed import anywhere, join, share_statistics
from paddleseg_ext.core.history import History
from paddleseg_ext.core.inference import InferenceOptions
from paddleseg_ext.core.interruption import StopRequest, stop_request
from paddleseg_ext.core.metrics import Metrics
from paddleseg_ext.core.val import evaluate
from paddleseg_ext.datasets.loader import TrainingOrder, training_batches
from paddleseg_ext_runtime.errors import ConfigError, DataError, NumericError, Stopped
from paddleseg_ext_runtime.log import get_logger

EMA_DECAY = 0.999
_AMP = {
    "custom_white_list": {"elementwise_add", "batch_norm", "sync_batch_norm"},
    "custom_black_list": {"bilinear_interp_v2"},
}


@dataclass(frozen=True)
class TrainOptions:
    """The settings of a run; names and defaults are those of PaddleSeg's flags."""

    save_dir: Path
    iters: int
    batch_size: int
    seed: int = 0
    save_interval: int = 1000
    log_iters: int = 10
    num_workers: int = 0
    keep_checkpoint_max: int = 5
    early_stop_intervals: int | None = None
    use_vdl: bool = False
    use_ema: bool = False
    precision: str = "fp32"
    amp_level: str = "O1"
    resume_model: str | None = None
    test_config: InferenceOptions = field(default_factory=InferenceOptions)
    profiler_options: str | None = None
    repeats: int = 1


class Trainer:
    """Trains a model; `run` returns the final state.

    Args:
        model: a network that maps images to a list of logits.
        losses: PaddleSeg's `{'types': [...], 'coef': [...]}`, one entry per output of the model.
        optimizer: over the parameters of `model`.
        train_dataset, val_dataset: without the latter there is no evaluation and no best model.
    """

    def __init__(
        self,
        model: nn.Layer,
        losses: dict[str, list],
        optimizer: paddle.optimizer.Optimizer,
        train_dataset: paddle.io.Dataset,
        val_dataset: paddle.io.Dataset | None,
        options: TrainOptions,
    ):
        if hasattr(model, "loss_computation"):
            raise ConfigError(f"{type(model).__name__} computes its own losses, which this trainer does not know")
        self.ranks = join()
        self.train_dataset, self.val_dataset, self.options = train_dataset, val_dataset, options
        self.saved: list[Path] = []
        # The order is important.
        # 1. Mixed precision first: with O2 it returns another model and optimizer, which all later steps must use.
        self.scaler = _scaler(options)
        if self.scaler is not None and options.amp_level == "O2":
            if options.resume_model is not None:
                raise ConfigError("a run with --amp_level O2 cannot be resumed: its master weights are not kept")
            model, optimizer = paddle.amp.decorate(model, optimizer, level="O2", save_dtype="float32")
        # 2. Synchronised batch norm replaces layers, so it comes before the model is copied or filled.
        if self.ranks.count > 1:
            model = _synchronised(model)
        self.model, self.losses, self.optimizer = model, losses, optimizer
        # 3. The moving average is a copy of the complete model.
        self.ema_model = _frozen_copy(model) if options.use_ema else None
        self.state = checkpoint.TrainingState(seed=options.seed)
        # 4. An interrupted save is cleaned up before a checkpoint is read: that may be the interrupted one.
        if self.ranks.is_first:
            checkpoint.recover(options.save_dir)
        # 5. Resuming fills the model, the optimizer and the moving average, and replaces the state with its seed.
        if options.resume_model is not None:
            self._resume(Path(options.resume_model))
        # 6. DataParallel sends the weights of the first process to all others, so they must be loaded by now.
        self.parallel = paddle.DataParallel(model) if self.ranks.count > 1 else model
        # 7. The order of the data follows from the seed and the iteration of the state.
        self.order = TrainingOrder(
            length=len(train_dataset), batch_size=options.batch_size, iters=options.iters, seed=self.state.seed,
            start_iter=self.state.iteration, rank=self.ranks.rank, num_ranks=self.ranks.count, repeats=options.repeats,
        )  # fmt: skip

    def _resume(self, folder: Path) -> None:
        self.state = checkpoint.resume(folder, self.model, self.optimizer, self.ema_model)
        self.state.intervals_without_gain = 0
        start = self.state.iteration
        get_logger().info("resumed from %s at iteration %d, with its seed %d", folder, start, self.state.seed)
        if start >= self.options.iters:
            get_logger().warning("nothing to do: the checkpoint is at iteration %d of %d", start, self.options.iters)
        if folder.resolve().parent == self.options.save_dir.resolve():
            self.saved = checkpoint.saved_iterations(self.options.save_dir, up_to=start)

    def run(self) -> checkpoint.TrainingState:
        """Trains up to `options.iters`; returns the final state.

        On Ctrl-C, SIGTERM or a sample that cannot be read, it first saves an `iter_<n>` to resume from. Raises
        NumericError at the first loss that is not finite.
        """
        # At the first step the optimizer names its state by a counter of the process; `guard` keeps those names equal
        # in every run, because saved state is found by name.
        with paddle.utils.unique_name.guard(), stop_request() as stop:
            try:
                is_stopped = self._loop(stop)
            except DataError as error:
                raise DataError(f"{error}\n{self._save_progress()}") from error
        if is_stopped:
            raise Stopped(f"stopped by a signal. {self._save_progress()}", stop.exit_code)
        return self.state

    def _loop(self, stop: StopRequest) -> bool:
        """Trains; returns whether a signal to any process of the run ended it early."""
        options, is_stopped = self.options, False
        history = History(
            options.save_dir, options.iters, self.order.iters_per_epoch, options.batch_size,
            options.use_vdl, silent=not self.ranks.is_first,
        )  # fmt: skip
        batches = training_batches(self.train_dataset, self.order, options.num_workers)
        warnings.filterwarnings("ignore", message="When training, we now always track")  # every batch norm warns of it
        self.parallel.train()
        started = time.perf_counter()
        for batch in batches:
            reader_seconds = time.perf_counter() - started
            lr = self.optimizer.get_lr()
            losses = self._step(batch)
            self.state.iteration += 1
            history.record(losses, reader_seconds, time.perf_counter() - started)
            if options.profiler_options is not None:
                add_profiler_step(options.profiler_options)
            if self.state.iteration % options.log_iters == 0 or history.is_first_report:
                history.log_training(self.state.iteration, lr)
            is_last = self.state.iteration == options.iters
            if self.state.iteration % options.save_interval == 0 or is_last:
                self._evaluate_and_save(history)
                self.parallel.train()
            is_stopped = anywhere(bool(stop))
            if is_stopped or self._is_hopeless():
                break
            started = time.perf_counter()
        history.close()
        return is_stopped

    def _save_progress(self) -> str:
        """Saves the current state unless it is saved already; returns a message for the user."""
        folder = self.options.save_dir / f"iter_{self.state.iteration}"
        if self.state.iteration == 0:
            return "Nothing was trained yet."
        if not self.ranks.is_first:
            return "The first process saves for all."
        if folder not in self.saved:
            self._save_iteration(None)
        return f"Go on with --resume_model {folder}"

    def _step(self, batch: dict[str, np.ndarray]) -> list[float]:
        """One update of the weights; returns the terms of the loss before it."""
        # With this seed dropout and drop path depend only on the iteration, so resuming is exact.
        iteration = self.state.iteration + 1
        paddle.seed((self.state.seed * 1_000_003 + iteration * 65_537 + self.ranks.rank) % 2**31)
        images = paddle.to_tensor(batch["img"])
        labels = {name: paddle.to_tensor(batch[name]) for name in ("label", "edge") if name in batch}
        with self._autocast():
            terms = compute_losses(self.parallel(images), labels, self.losses, self.train_dataset.ignore_index)
            loss = sum(terms[1:], terms[0])
        values = [float(term) for term in terms]
        if not math.isfinite(sum(values)):
            raise NumericError(
                f"the loss is {sum(values)} at iteration {iteration} with learning rate "
                f"{self.optimizer.get_lr():g}; the last checkpoint in {self.options.save_dir} is still finite. "
                "Try a smaller --learning_rate, or grad_clip_cfg in the optimizer"
            )
        if self.scaler is None:
            loss.backward()
            self.optimizer.step()
        else:
            self.scaler.scale(loss).backward()
            self.scaler.step(self.optimizer)
            self.scaler.update()
        self.optimizer.clear_grad()
        self._step_scheduler(loss)
        if self.ema_model is not None:
            update_ema(self.ema_model, self.model, iteration)
        return values

    def _autocast(self) -> Any:
        if self.scaler is None:
            return nullcontext()
        return paddle.amp.auto_cast(level=self.options.amp_level, **_AMP)

    def _step_scheduler(self, loss: Tensor) -> None:
        scheduler = self.optimizer._learning_rate
        if isinstance(scheduler, paddle.optimizer.lr.ReduceOnPlateau):
            scheduler.step(loss)
        elif isinstance(scheduler, paddle.optimizer.lr.LRScheduler):
            scheduler.step()

    def _evaluate_and_save(self, history: History) -> None:
        metrics = ema_metrics = None
        if self.val_dataset is not None:
            metrics = self._evaluate(self.model, history, "")
            if self.ema_model is not None:
                ema_metrics = self._evaluate(self.ema_model, history, "Ema_")
        # The best models come first, so that the state in iter_<n> holds the best scores for a resumed run.
        self._keep_bests(metrics, ema_metrics)
        if self.ranks.is_first:
            self._save_iteration(metrics)

    def _evaluate(self, model: nn.Layer, history: History, prefix: str) -> Metrics:
        share_statistics(model)
        metrics = evaluate(model, self.val_dataset, self.options.test_config, self.options.num_workers)
        history.log_evaluation(self.state.iteration, metrics, prefix)
        return metrics

    def _keep_bests(self, metrics: Metrics | None, ema_metrics: Metrics | None) -> None:
        """Updates the best scores, equally in every process, so that all stop early together; the first one saves."""
        if metrics is None:
            return
        state = self.state
        state.intervals_without_gain += 1
        if metrics.miou > state.best_miou:
            state.best_miou, state.best_iteration, state.intervals_without_gain = metrics.miou, state.iteration, 0
            self._save_best("best_model", "model", self.model, metrics)
        if ema_metrics is not None and ema_metrics.miou > state.best_ema_miou:
            state.best_ema_miou = ema_metrics.miou
            self._save_best("ema_best_model", "ema_model", self.ema_model, ema_metrics)
        if self.ranks.is_first:
            get_logger().info("[EVAL] best mIoU %.4f at iteration %d", state.best_miou, state.best_iteration)

    def _save_best(self, folder: str, stem: str, model: nn.Layer, metrics: Metrics) -> None:
        if self.ranks.is_first:
            content = checkpoint.state_to_save(self.state, metrics.miou, metrics.accuracy)
            files = {f"{stem}.pdparams": checkpoint.weights_to_save(model), f"{stem}.pdstates": content}
            checkpoint.save_folder(self.options.save_dir / folder, files)

    def _save_iteration(self, metrics: Metrics | None) -> None:
        miou, accuracy = (metrics.miou, metrics.accuracy) if metrics else (None, None)
        files = {
            "model.pdparams": checkpoint.weights_to_save(self.model),
            "model.pdopt": self.optimizer.state_dict(),
            "model.pdstates": checkpoint.state_to_save(self.state, miou, accuracy),
        }
        if self.ema_model is not None:
            files["ema_model.pdparams"] = checkpoint.weights_to_save(self.ema_model)
        folder = self.options.save_dir / f"iter_{self.state.iteration}"
        checkpoint.save_folder(folder, files)
        self.saved = [path for path in self.saved if path != folder] + [folder]
        # Only folders of this run: folders of another run in the same place stay.
        while len(self.saved) > self.options.keep_checkpoint_max > 0:
            shutil.rmtree(self.saved.pop(0), ignore_errors=True)

    def _is_hopeless(self) -> bool:
        patience = self.options.early_stop_intervals
        is_over = patience is not None and self.state.intervals_without_gain >= patience
        if is_over:
            get_logger().info("stopped early: no gain in %d evaluations", patience)
        return is_over


def compute_losses(
    outputs: list[Tensor], labels: dict[str, Tensor], losses: dict[str, list], ignore_index: int = 255
) -> list[Tensor]:
    """The weighted terms of the loss, one or more for each output [B, K, h, w] of the model.

    Labels [B, H, W] are sampled down to outputs that are smaller (`loss_stride`). A batch without any
    labelled pixel gives zero, because PaddleSeg's Lovász loss has no scalar value for it.
    Raises ConfigError when the numbers of outputs and of loss types differ, or for a loss that does not give one
    number.
    """
    if len(outputs) != len(losses["types"]):
        raise ConfigError(
            f"the model gives {len(outputs)} outputs in training but loss.types has {len(losses['types'])}"
        )
    terms = []
    for output, loss, coefficient in zip(outputs, losses["types"], losses["coef"], strict=True):
        target = _sampled(labels["edge" if getattr(loss, "edge_label", False) else "label"], output)
        value = loss(output, target)
        for term in value if isinstance(value, list) else [value]:
            if term.size != 1:
                if bool((target != ignore_index).any()):
                    raise ConfigError(f"{type(loss).__name__} gives {term.shape}, not one number")
                term = output.sum() * 0.0
            terms.append(coefficient * term)
    return terms


def _sampled(labels: Tensor, output: Tensor) -> Tensor:
    """labels [B, H, W] -> [B, h, w], at the pixels nearest to the centres of the output's pixels."""
    for axis, length in enumerate(output.shape[2:], start=1):
        full = labels.shape[axis]
        if full != length:
            centres = (np.arange(length) + 0.5) * full / length
            labels = paddle.index_select(labels, paddle.to_tensor(centres.astype("int64")), axis=axis)
    return labels


@paddle.no_grad()
def update_ema(ema_model: nn.Layer, model: nn.Layer, iteration: int) -> None:
    """Moves `ema_model` towards `model`, statistics included; the decay grows from 0 to 0.999."""
    decay = min(1 - 1 / (iteration + 1), EMA_DECAY)
    current = model.state_dict()
    for name, value in ema_model.state_dict().items():
        is_counted = not value.is_floating_point()
        value.set_value(current[name] if is_counted else value * decay + current[name] * (1 - decay))


def _frozen_copy(model: nn.Layer) -> nn.Layer:
    clone = copy.deepcopy(model)
    clone.eval()
    for parameter in clone.parameters():
        parameter.stop_gradient = True
    return clone


def _synchronised(model: nn.Layer) -> nn.Layer:
    """The model with batch norm statistics shared by all GPUs; the CPU has no kernel for it."""
    return model if paddle.get_device() == "cpu" else nn.SyncBatchNorm.convert_sync_batchnorm(model)


def check_precision(precision: str) -> None:
    """Raises ConfigError when the selected device cannot train in `precision`."""
    if precision == "fp16" and paddle.get_device() == "cpu":
        raise ConfigError("--precision fp16 needs a GPU; this device is the CPU, use --precision fp32")


def _scaler(options: TrainOptions) -> paddle.amp.GradScaler | None:
    check_precision(options.precision)
    return None if options.precision == "fp32" else paddle.amp.GradScaler(init_loss_scaling=1024)
