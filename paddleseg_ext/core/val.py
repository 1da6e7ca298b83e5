"""Validation: labels of every image against the truth."""

import numpy as np
import paddle
from paddle import nn

from paddleseg_ext.core.inference import InferenceOptions, predict_labels
from paddleseg_ext.core.metrics import Metrics, confusion_matrix
from paddleseg_ext.datasets.loader import validation_samples
from paddleseg_ext.errors import ConfigError
from paddleseg_ext.utils.progress import track


def evaluate(
    model: nn.Layer, dataset: paddle.io.Dataset, config: InferenceOptions | None = None, num_workers: int = 0
) -> Metrics:
    """Metrics of `model` over `dataset`, at the size of the labels; leaves the model in eval mode.

    Under several ranks each takes its share and all return the metrics of the whole.
    Raises DataError for a sample that cannot be read, ConfigError for an empty data set.
    """
    if len(dataset) == 0:
        raise ConfigError("the validation data set holds no image")
    config = config or InferenceOptions()
    environment = paddle.distributed.ParallelEnv()
    rank, num_ranks = environment.rank, environment.nranks
    num_classes = dataset.num_classes
    confusion = np.zeros((num_classes, num_classes), "int64")
    model.eval()
    samples = validation_samples(dataset, num_workers, rank, num_ranks)
    for sample in track(samples, -(-len(dataset) // num_ranks), "validation"):
        label = np.asarray(sample["label"])[0]
        prediction = predict_labels(model, sample, config)
        confusion += confusion_matrix(prediction, label, num_classes, dataset.ignore_index)
    if num_ranks > 1:
        total = paddle.to_tensor(confusion)
        paddle.distributed.all_reduce(total)
        confusion = total.numpy()
    return Metrics(confusion)
