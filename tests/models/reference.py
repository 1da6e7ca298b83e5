"""PaddleSeg 2.8.0's own networks, as the measure of ours with the same weights."""

import numpy as np
import paddle
from golden.fill import fill


def share_weights(ours, theirs):
    """Gives both the golden weights of ours; fails unless they have the same names and shapes."""
    shapes = [{name: value.shape for name, value in net.state_dict().items()} for net in (ours, theirs)]
    assert shapes[0] == shapes[1]
    weights = {name: paddle.to_tensor(value) for name, value in fill(ours.state_dict()).items()}
    for net in (ours, theirs):
        net.set_state_dict(weights)
        net.eval()


def assert_same(ours, theirs, tolerance=1e-5):
    """Lists of equally many tensors of the same shapes, equal within `tolerance` standard deviations."""
    assert [x.shape for x in ours] == [x.shape for x in theirs]
    for x, y in zip(ours, theirs, strict=True):
        assert np.abs((x - y).numpy()).max() < tolerance * float(y.std())
