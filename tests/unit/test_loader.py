import multiprocessing
import random

import numpy as np
import paddle
import pytest

from paddleseg_ext.datasets.loader import TrainingOrder, training_batches, validation_samples
from paddleseg_ext_runtime.errors import DataError


class Numbers(paddle.io.Dataset):
    """Sample i is an image full of i, with a random pixel as augmentation; one index may be broken."""

    def __init__(self, length=10, broken=None):
        super().__init__()
        self.length, self.broken = length, broken
        self.num_classes, self.ignore_index = 5, 255

    def __len__(self):
        return self.length

    def __getitem__(self, index):
        if index == self.broken:
            raise DataError(f"image {index} is truncated")
        image = np.full((3, 4, 4), index, "float32")
        image[0, 0, 0], image[1, 0, 0] = random.random(), np.random.rand()
        return {"img": image, "label": np.full((4, 4), index % 5, "uint8"), "trans_info": [], "gt_fields": []}


def batches(num_workers=0, start=0, seed=3, rank=0, num_ranks=1, iters=8, dataset=None):
    dataset = dataset or Numbers()
    order = TrainingOrder(len(dataset), 3, iters, seed, start, rank, num_ranks)
    return [batch["img"].copy() for batch in training_batches(dataset, order, num_workers)]


def equal(a, b):
    return len(a) == len(b) and all(np.array_equal(x, y) for x, y in zip(a, b, strict=True))


def test_workers_and_restarts_change_nothing():
    whole = batches()
    assert len(whole) == 8 and whole[0].shape == (3, 3, 4, 4) and whole[0].dtype == np.float32
    assert equal(whole, batches(num_workers=2))
    assert equal(whole[5:], batches(start=5))
    assert not equal(whole, batches(seed=4))


def test_an_epoch_has_every_sample_at_most_once_and_is_shuffled_anew():
    epochs = [[int(image[2, 1, 1]) for batch in part for image in batch] for part in (batches()[:3], batches()[3:6])]
    assert all(len(set(epoch)) == 9 for epoch in epochs)
    assert epochs[0] != epochs[1]


def test_the_seed_shuffles_and_every_sample_is_augmented_anew():
    orders = [[int(image[2, 1, 1]) for batch in batches(seed=seed)[:3] for image in batch] for seed in (3, 4)]
    assert orders[0] != orders[1] and all(order != sorted(order) for order in orders)
    pixels = [float(image[channel, 0, 0]) for batch in batches() for image in batch for channel in (0, 1)]
    assert len(set(pixels)) == len(pixels)


def test_repeats_lengthen_the_epoch():
    order = TrainingOrder(5, 3, 3, seed=1, repeats=2)
    assert order.iters_per_epoch == 3
    seen = [key.index for keys in order for key in keys]
    assert len(seen) == 9 and max(seen.count(index) for index in range(5)) == 2


def test_ranks_share_an_epoch():
    parts = [batches(rank=rank, num_ranks=2, iters=1) for rank in range(2)]
    seen = [int(image[2, 1, 1]) for part in parts for batch in part for image in batch]
    assert len(set(seen)) == 6


def test_a_data_set_smaller_than_a_batch_repeats():
    assert batches(dataset=Numbers(2), iters=2)[0].shape[0] == 3


def test_a_half_read_epoch_leaves_no_worker_behind():
    reading = training_batches(Numbers(), TrainingOrder(10, 2, 50, seed=3), num_workers=2)
    next(reading)
    assert len(multiprocessing.active_children()) == 2
    reading.close()
    assert not multiprocessing.active_children()


@pytest.mark.parametrize("num_workers", [0, 2])
@pytest.mark.timeout(60)
def test_a_broken_sample_is_named_and_nothing_hangs(num_workers):
    with pytest.raises(DataError, match="image 7 is truncated"):
        batches(num_workers, dataset=Numbers(broken=7))


@pytest.mark.parametrize("num_workers", [0, 2])
@pytest.mark.timeout(60)
def test_a_defect_of_a_data_set_is_named_too(num_workers):
    class Defective(Numbers):
        def __getitem__(self, index):
            return [][index]

    with pytest.raises(DataError, match=r"sample \d cannot be prepared: IndexError: list index out of range"):
        batches(num_workers, dataset=Defective())


def test_labels_of_other_readers_are_checked_too():
    class Wrong(Numbers):
        def __getitem__(self, index):
            return {**super().__getitem__(index), "label": np.full((4, 4), 9, "uint8")}

    with pytest.raises(DataError, match=r"sample \d: its label holds 9; allowed are 0 to 4, and 255"):
        batches(dataset=Wrong())


def test_images_of_different_size_in_a_batch():
    class Growing(Numbers):
        def __getitem__(self, index):
            return {**super().__getitem__(index), "img": np.zeros((3, 4 + index, 4), "float32")}

    with pytest.raises(DataError, match=r"differ in size, .* crop or resize"):
        batches(dataset=Growing())


@pytest.mark.parametrize("num_workers", [0, 3])
def test_validation_is_in_order_and_shared_by_rank(num_workers):
    indices = [int(sample["img"][2, 1, 1]) for sample in validation_samples(Numbers(), num_workers)]
    assert indices == list(range(10))
    assert [int(s["img"][2, 1, 1]) for s in validation_samples(Numbers(), num_workers, 1, 3)] == [1, 4, 7]
    with pytest.raises(DataError, match="image 2"):
        list(validation_samples(Numbers(broken=2), num_workers))
