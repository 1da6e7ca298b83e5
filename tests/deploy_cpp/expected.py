"""What the program should give, from the network itself: the definition in deploy/README.md, written with paddle."""

import cv2
import numpy as np
import paddle
from paddleseg.cvlibs import manager
from paddleseg.transforms import Compose

from paddleseg_ext.core.inference import InferenceOptions, predict_labels
from paddleseg_ext.models.output_ops import OUTPUT_OPS
from paddleseg_ext_runtime.reading import read_image


def prepare(path, transforms, fixed=(None, None)):
    """The sample of predict.py; resized again, as another transform would, when the graph takes one size alone."""
    transforms = [dict(item) for item in transforms]
    compose = Compose([manager.TRANSFORMS[item.pop("type")](**item) for item in transforms])
    sample = compose({"img": read_image(path), "trans_info": [], "gt_fields": []})
    height, width = (length or now for length, now in zip(fixed, sample["img"].shape[1:], strict=True))
    if sample["img"].shape[1:] != (height, width):
        sample["trans_info"].append(("resize", sample["img"].shape[1:]))
        image = cv2.resize(sample["img"].transpose(1, 2, 0), (width, height), interpolation=cv2.INTER_LINEAR)
        sample["img"] = image.transpose(2, 0, 1)
    return sample


def labels_of_scores(network, sample):
    """As predict.py: scores at the photograph's size, then the largest."""
    return predict_labels(network, sample, InferenceOptions())


def labels_of_labels(network, output_op, sample):
    """Labels at the size the network sees, brought back by the nearest neighbour."""
    with paddle.no_grad():
        x = paddle.to_tensor(sample["img"]).unsqueeze(0)
        labels = OUTPUT_OPS[output_op](network.align_corners)(network.logits(x), x.shape[2:])[0].numpy()
    return restore(labels, sample["trans_info"])


def restore(labels, trans_info):
    """Undoes the steps, the last first."""
    for kind, (height, width) in reversed(trans_info):
        labels = labels[:height, :width] if kind == "padding" else nearest(labels, int(height), int(width))
    return labels


def nearest(labels, height, width):
    """The pixel that holds the centre of each new one."""
    rows = (2 * np.arange(height) + 1) * labels.shape[0] // (2 * height)
    columns = (2 * np.arange(width) + 1) * labels.shape[1] // (2 * width)
    return labels[rows][:, columns]
