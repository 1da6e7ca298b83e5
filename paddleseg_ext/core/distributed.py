"""The processes of a run: a single one, or several that `paddle.distributed.launch` started."""

import random
from dataclasses import dataclass

import numpy as np
import paddle
from paddle import nn


@dataclass(frozen=True)
class Ranks:
    """The number of this process, and the number of all processes."""

    rank: int
    count: int

    @property
    def is_first(self) -> bool:
        """Whether this process reports and saves for all."""
        return self.rank == 0


def join() -> Ranks:
    """Joins the other processes of this run; safe to call again."""
    environment = paddle.distributed.ParallelEnv()
    if environment.nranks > 1 and not paddle.distributed.is_initialized():
        paddle.distributed.init_parallel_env()
    return Ranks(environment.rank, environment.nranks)


def total(counts: np.ndarray) -> np.ndarray:
    """The sum of an integer array over all processes."""
    if join().count == 1:
        return counts
    tensor = paddle.to_tensor(counts)
    paddle.distributed.all_reduce(tensor)
    return tensor.numpy()


def anywhere(flag: bool) -> bool:
    """Whether the flag is set in any process. All get the same answer, so all leave a loop together."""
    return bool(total(np.asarray([int(flag)], "int64"))[0])


def share_statistics(model: nn.Layer) -> None:
    """Copies the untrained state of the first process, such as batch norm statistics, to all processes.

    Without SyncBatchNorm the statistics differ, because each process sees its own share of the data. The first
    process saves its model, so all must evaluate that model.
    """
    if join().count > 1:
        for value in model.state_dict().values():
            if value.stop_gradient:
                paddle.distributed.broadcast(value, src=0)


def common_seed(seed: int | None) -> int:
    """Returns `seed`; if None, the first process draws one that all use, because it decides how data are split."""
    if seed is not None:
        return seed
    ranks = join()
    drawn = random.SystemRandom().randrange(2**31) if ranks.is_first else 0
    return int(total(np.asarray([drawn], "int64"))[0])
