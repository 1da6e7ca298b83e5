"""Batches for training and samples for validation, in an order that depends only on the seed.

Without workers, Paddle's DataLoader waits for ever when a data set raises an error; with workers, it loses the
message. So errors are passed on as values here, and raised with their full message where the batch is used.
"""

import random
import signal
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np
import paddle
from paddle import io

from paddleseg_ext.datasets.base import SegmentationDataset
from paddleseg_ext_runtime.errors import DataError

_ERROR = "error"


@dataclass(frozen=True)
class Key:
    """One sample of a run: its index, and the seed of its augmentation."""

    index: int
    seed: int


class SeededReader(io.Dataset):
    """Reads samples by `Key`: seeds the generators that transforms use, and returns errors as values."""

    def __init__(self, dataset: io.Dataset):
        super().__init__()
        self.dataset = dataset

    def __len__(self) -> int:
        return len(self.dataset)

    def __getitem__(self, key: Key) -> dict[str, Any]:
        random.seed(key.seed)
        np.random.seed(key.seed)
        try:
            return _read(self.dataset, key.index)
        except DataError as error:
            return {_ERROR: str(error)}


@dataclass(frozen=True)
class TrainingOrder:
    """The keys of every batch of a run. Epochs are shuffled by (seed, epoch); a short last batch is dropped.

    An epoch holds every sample `repeats` times. The order depends only on the position, so resuming needs no state.
    """

    length: int
    batch_size: int
    iters: int
    seed: int
    start_iter: int = 0
    rank: int = 0
    num_ranks: int = 1
    repeats: int = 1

    @property
    def iters_per_epoch(self) -> int:
        """Batches that one pass over the data set gives to each rank."""
        return max(self.length * self.repeats // (self.batch_size * self.num_ranks), 1)

    def __len__(self) -> int:
        return self.iters - self.start_iter

    def __iter__(self) -> Iterator[list[Key]]:
        epoch, order = -1, np.empty(0, "int64")
        for iteration in range(self.start_iter, self.iters):
            if iteration // self.iters_per_epoch != epoch:
                epoch = iteration // self.iters_per_epoch
                order = np.random.default_rng((self.seed, epoch)).permutation(self.length * self.repeats)
            first = ((iteration % self.iters_per_epoch) * self.num_ranks + self.rank) * self.batch_size
            positions = range(first, first + self.batch_size)
            # A data set smaller than a batch repeats.
            yield [self._key(iteration, position, order) for position in positions]

    def _key(self, iteration: int, position: int, order: np.ndarray) -> Key:
        # 2654435761 is Knuth's multiplicative hash: neighbouring positions get unrelated seeds.
        mixed = (self.seed * 1_000_003 + iteration * 65_537 + position) * 2_654_435_761
        return Key(int(order[position % len(order)]) % self.length, mixed % 2**32)


def training_batches(dataset: io.Dataset, order: TrainingOrder, num_workers: int) -> Iterator[dict[str, np.ndarray]]:
    """Batches {'img': [B, C, H, W] float32, 'label': [B, H, W] int64, …}. Raises DataError naming a bad file.

    Without workers a thread reads one batch ahead of the one in use.
    """
    reader = SeededReader(dataset)
    if num_workers > 0:
        # On the CPU, because the trainer moves a batch to the device.
        options = {"num_workers": num_workers, "places": paddle.CPUPlace(), "worker_init_fn": _ignore_interrupts}
        loader = io.DataLoader(reader, batch_sampler=order, collate_fn=_collate, **options)
        running = iter(loader)
        try:
            for batch in running:
                yield _raise_errors({name: _to_numpy(value) for name, value in batch.items()})
        finally:
            # The loader's thread refers to it, so garbage collection would not end the workers of an unfinished epoch.
            running._try_shutdown_all(timeout=1)
        return
    with ThreadPoolExecutor(1) as pool:
        waiting = None
        for keys in order:
            following = pool.submit(lambda keys=keys: _collate([reader[key] for key in keys]))
            if waiting is not None:
                yield _raise_errors(waiting.result())
            waiting = following
        if waiting is not None:
            yield _raise_errors(waiting.result())


def validation_samples(
    dataset: io.Dataset, num_workers: int, rank: int = 0, num_ranks: int = 1
) -> Iterator[dict[str, Any]]:
    """The samples of a data set one by one, in order; each rank gets every num_ranks-th.

    Threads read them: decoding and resizing release the interpreter's lock, and samples of different sizes are
    not joined into batches.
    """
    with ThreadPoolExecutor(max(num_workers, 1)) as pool:
        waiting: list = []
        for index in range(rank, len(dataset), num_ranks):
            waiting.append(pool.submit(_read, dataset, index))
            if len(waiting) > max(num_workers, 1):
                yield waiting.pop(0).result()
        for future in waiting:
            yield future.result()


def _read(dataset: io.Dataset, index: int) -> dict[str, Any]:
    """One sample. Any error of a data set or a transform becomes a DataError that names the sample."""
    try:
        sample = dataset[index]
        if not isinstance(dataset, SegmentationDataset) and "label" in sample:
            _check_range(sample["label"], dataset)
        return sample
    except DataError as error:
        is_named = isinstance(dataset, SegmentationDataset)
        raise DataError(str(error) if is_named else f"{_name(dataset, index)}: {error}") from error
    except Exception as error:
        reason = f"{type(error).__name__}: {error}"
        raise DataError(f"{_name(dataset, index)} cannot be prepared: {reason}") from error


def _name(dataset: io.Dataset, index: int) -> str:
    names = getattr(dataset, "file_list", None)
    return str(names[index][0]) if names else f"sample {index}"


def _check_range(label: np.ndarray, dataset: io.Dataset) -> None:
    """Raises DataError for a label that is no class: PaddleSeg's readers accept it, and the loss names no file."""
    wrong = label[(label >= dataset.num_classes) & (label != dataset.ignore_index)]
    if wrong.size:
        raise DataError(
            f"its label holds {int(wrong.flat[0])}; allowed are 0 to {dataset.num_classes - 1}, and "
            f"{dataset.ignore_index} for ignored pixels"
        )


def _collate(samples: Sequence[dict[str, Any]]) -> dict[str, np.ndarray]:
    for sample in samples:
        if _ERROR in sample:
            return _as_error(sample[_ERROR])
    sizes = {sample["img"].shape for sample in samples}
    if len(sizes) > 1:
        shapes = " and ".join(str(list(size)) for size in sorted(sizes)[:2])
        return _as_error(
            f"images of one batch differ in size, {shapes}; crop or resize them in train_dataset.transforms"
        )
    batch = {"img": np.stack([sample["img"] for sample in samples]).astype("float32")}
    for name in ("label", "edge"):
        if name in samples[0]:
            batch[name] = np.stack([sample[name] for sample in samples]).astype("int64")
    return batch


def _as_error(message: str) -> dict[str, np.ndarray]:
    # As numbers, because worker processes pass only arrays.
    return {_ERROR: np.frombuffer(message.encode(), np.uint8)}


def _ignore_interrupts(_worker: int) -> None:
    """Ignores Ctrl-C in a worker: the trainer finishes its iteration and then ends the workers."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)


def _raise_errors(batch: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    if _ERROR in batch:
        raise DataError(batch[_ERROR].tobytes().decode())
    return batch


def _to_numpy(value: Any) -> np.ndarray:
    return value.numpy() if hasattr(value, "numpy") else value
