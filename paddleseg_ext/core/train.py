"""Training: one loop over batches, with evaluation, checkpoints and an optional moving average of the weights."""

import copy
import math
import time
import warnings
from contextlib import nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import paddle
from paddle import Tensor, nn

from paddleseg_ext.core.checkpoint import TrainingState, resume, rotate, save_folder, state_to_save
from paddleseg_ext.core.history import History
from paddleseg_ext.core.inference import InferenceOptions
from paddleseg_ext.core.metrics import Metrics
from paddleseg_ext.core.val import evaluate
from paddleseg_ext.datasets.loader import TrainingOrder, training_batches
from paddleseg_ext.errors import ConfigError, NumericError
from paddleseg_ext.utils.logging import get_logger

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


class Trainer:
    """Trains a model; `run` returns the state it ended in.

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
        environment = paddle.distributed.ParallelEnv()
        self.rank, self.num_ranks = environment.rank, environment.nranks
        self.is_first = self.rank == 0
        if self.num_ranks > 1:
            paddle.distributed.init_parallel_env()
            model = _synchronised(model)
        self.model, self.losses, self.optimizer = model, losses, optimizer
        self.parallel = paddle.DataParallel(model) if self.num_ranks > 1 else model
        self.train_dataset, self.val_dataset, self.options = train_dataset, val_dataset, options
        self.ema_model = _frozen_copy(model) if options.use_ema else None
        self.scaler = _scaler(options)
        self.state = TrainingState(seed=options.seed)
        if options.resume_model is not None:
            self.state = resume(options.resume_model, model, optimizer, self.ema_model)
            get_logger().info("resumed from %s at iteration %d", options.resume_model, self.state.iteration)
        self.order = TrainingOrder(
            len(train_dataset), options.batch_size, options.iters, self.state.seed, self.state.iteration,
            self.rank, self.num_ranks,
        )  # fmt: skip

    def run(self) -> TrainingState:
        """Trains up to `options.iters`. Raises NumericError at the first loss that is not finite."""
        # The optimizer names its state at the first step, by a counter of the process; saved state is found by name.
        with paddle.utils.unique_name.guard():
            return self._run()

    def _run(self) -> TrainingState:
        options = self.options
        history = History(
            options.save_dir, options.iters, self.order.iters_per_epoch, options.batch_size,
            options.use_vdl, silent=not self.is_first,
        )  # fmt: skip
        batches = training_batches(self.train_dataset, self.order, options.num_workers)
        warnings.filterwarnings("ignore", message="When training, we now always track")  # every batch norm says so
        self.parallel.train()
        waiting_since = time.perf_counter()
        for batch in batches:
            reader_seconds = time.perf_counter() - waiting_since
            self.state.iteration += 1
            lr = self.optimizer.get_lr()
            history.record(self._step(batch), reader_seconds)
            if self.state.iteration % options.log_iters == 0:
                history.log_training(self.state.iteration, lr)
            is_last = self.state.iteration == options.iters
            if self.state.iteration % options.save_interval == 0 or is_last:
                self._evaluate_and_save(history)
                self.parallel.train()
            if self._should_stop():
                get_logger().info("stopped: no gain in %d evaluations", options.early_stop_intervals)
                break
            waiting_since = time.perf_counter()
        history.close()
        return self.state

    def _step(self, batch: dict[str, np.ndarray]) -> list[float]:
        """One update of the weights; returns the terms of the loss before it."""
        # Dropout and drop path then depend on the iteration alone, which makes resuming exact.
        paddle.seed((self.state.seed * 1_000_003 + self.state.iteration * 65_537 + self.rank) % 2**31)
        images = paddle.to_tensor(batch["img"])
        labels = {name: paddle.to_tensor(batch[name]) for name in ("label", "edge") if name in batch}
        with self._autocast():
            terms = compute_losses(self.parallel(images), labels, self.losses)
            loss = sum(terms[1:], terms[0])
        values = [float(term) for term in terms]
        if not math.isfinite(sum(values)):
            raise NumericError(
                f"the loss is {sum(values)} at iteration {self.state.iteration} with learning rate "
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
            update_ema(self.ema_model, self.model, self.state.iteration)
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
        if self.is_first:
            # Bests first: the state in iter_<n> then holds them, and a resumed run knows what to beat.
            self._save_bests(metrics, ema_metrics)
            self._save_iteration(metrics)

    def _evaluate(self, model: nn.Layer, history: History, prefix: str) -> Metrics:
        metrics = evaluate(model, self.val_dataset, self.options.test_config, self.options.num_workers)
        history.log_evaluation(self.state.iteration, metrics, prefix)
        return metrics

    def _save_bests(self, metrics: Metrics | None, ema_metrics: Metrics | None) -> None:
        if metrics is None:
            return
        state, save_dir = self.state, self.options.save_dir
        state.intervals_without_gain += 1
        if metrics.miou > state.best_miou:
            state.best_miou, state.best_iteration, state.intervals_without_gain = metrics.miou, state.iteration, 0
            _save_weights(save_dir / "best_model", "model", self.model, state, metrics)
        if ema_metrics is not None and ema_metrics.miou > state.best_ema_miou:
            state.best_ema_miou = ema_metrics.miou
            _save_weights(save_dir / "ema_best_model", "ema_model", self.ema_model, state, ema_metrics)
        get_logger().info("[EVAL] best mIoU %.4f at iteration %d", state.best_miou, state.best_iteration)

    def _save_iteration(self, metrics: Metrics | None) -> None:
        miou, accuracy = (metrics.miou, metrics.accuracy) if metrics else (None, None)
        files = {
            "model.pdparams": self.model.state_dict(),
            "model.pdopt": self.optimizer.state_dict(),
            "model.pdstates": state_to_save(self.state, miou, accuracy),
        }
        if self.ema_model is not None:
            files["ema_model.pdparams"] = self.ema_model.state_dict()
        save_folder(self.options.save_dir / f"iter_{self.state.iteration}", files)
        rotate(self.options.save_dir, self.options.keep_checkpoint_max)

    def _should_stop(self) -> bool:
        patience = self.options.early_stop_intervals
        return patience is not None and self.state.intervals_without_gain >= patience


def compute_losses(outputs: list[Tensor], labels: dict[str, Tensor], losses: dict[str, list]) -> list[Tensor]:
    """The weighted terms of the loss, one or more for each output [B, K, h, w] of the model.

    Labels [B, H, W] are sampled down to outputs that are smaller (`loss_stride`). A batch without any
    labelled pixel gives zero: PaddleSeg's Lovász loss has no scalar value for it.
    Raises ConfigError when the model has not as many outputs as the loss has types.
    """
    if len(outputs) != len(losses["types"]):
        raise ConfigError(
            f"the model gives {len(outputs)} outputs in training but loss.types has {len(losses['types'])}"
        )
    terms = []
    for output, loss, coefficient in zip(outputs, losses["types"], losses["coef"], strict=True):
        target = labels["edge"] if getattr(loss, "edge_label", False) else labels["label"]
        value = loss(output, _sampled(target, output))
        for term in value if isinstance(value, list) else [value]:
            terms.append(coefficient * (term if term.size == 1 else output.sum() * 0.0))
    return terms


def _sampled(labels: Tensor, output: Tensor) -> Tensor:
    """labels [B, H, W] -> [B, h, w] at the pixels nearest to the centres of the output's."""
    strides = [-(-full // part) for full, part in zip(labels.shape[1:], output.shape[2:], strict=True)]
    if strides == [1, 1]:
        return labels
    return labels[:, strides[0] // 2 :: strides[0], strides[1] // 2 :: strides[1]]


@paddle.no_grad()
def update_ema(ema_model: nn.Layer, model: nn.Layer, iteration: int) -> None:
    """Moves `ema_model` towards `model`, statistics included; the decay grows from 0 to 0.999."""
    decay = min(1 - 1 / (iteration + 1), EMA_DECAY)
    current = model.state_dict()
    for name, value in ema_model.state_dict().items():
        value.set_value(value * decay + current[name] * (1 - decay))


def _frozen_copy(model: nn.Layer) -> nn.Layer:
    clone = copy.deepcopy(model)
    clone.eval()
    for parameter in clone.parameters():
        parameter.stop_gradient = True
    return clone


def _synchronised(model: nn.Layer) -> nn.Layer:
    """On several GPUs batch norm statistics are shared; the CPU has no kernel for it."""
    return model if paddle.get_device() == "cpu" else nn.SyncBatchNorm.convert_sync_batchnorm(model)


def _scaler(options: TrainOptions) -> paddle.amp.GradScaler | None:
    if options.precision == "fp32":
        return None
    if paddle.get_device() == "cpu":
        raise ConfigError("--precision fp16 needs a GPU; this device is the CPU, use --precision fp32")
    return paddle.amp.GradScaler(init_loss_scaling=1024)


def _save_weights(folder: Path, stem: str, model: nn.Layer, state: TrainingState, metrics: Metrics) -> None:
    content = state_to_save(state, metrics.miou, metrics.accuracy)
    save_folder(folder, {f"{stem}.pdparams": model.state_dict(), f"{stem}.pdstates": content})
