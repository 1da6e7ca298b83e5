"""The processes of a run: one, or those that `paddle.distributed.launch` started."""

import random
from dataclasses import dataclass

import numpy as np
import paddle
from paddle import nn


@dataclass(frozen=True)
class Ranks:
    """This process's number, and how many there are."""

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
    """Whether the flag is set in any process: they must all leave a loop together."""
    return bool(total(np.asarray([int(flag)], "int64"))[0])


def share_statistics(model: nn.Layer) -> None:
    """Gives every process the first one's untrained state, such as batch norm statistics without SyncBatchNorm.

    They differ because each process sees its share of the data; the model that is saved is the first one's,
    and so must be the one that is evaluated.
    """
    if join().count > 1:
        for value in model.state_dict().values():
            if value.stop_gradient:
                paddle.distributed.broadcast(value, src=0)


def common_seed(seed: int | None) -> int:
    """`seed`, or for None one that the first process draws for all: their shares of the data follow from it."""
    if seed is not None:
        return seed
    ranks = join()
    drawn = random.SystemRandom().randrange(2**31) if ranks.is_first else 0
    return int(total(np.asarray([drawn], "int64"))[0])
