"""Validation: compares the predicted labels of every image with the truth."""

import numpy as np
import paddle
from paddle import nn

from paddleseg_ext.core.distributed import join, total
from paddleseg_ext.core.inference import InferenceOptions, predict_labels
from paddleseg_ext.core.metrics import Metrics, confusion_matrix
from paddleseg_ext.datasets.loader import validation_samples
from paddleseg_ext_runtime.errors import ConfigError, DataError
from paddleseg_ext_runtime.progress import track


def evaluate(
    model: nn.Layer, dataset: paddle.io.Dataset, config: InferenceOptions | None = None, num_workers: int = 0
) -> Metrics:
    """Metrics of `model` over `dataset`, at the size of the labels; leaves the model in eval mode.

    Each of several processes evaluates its share, and all return the metrics of the whole data set.
    Raises DataError for a sample that cannot be read or when nothing is labelled, ConfigError for an empty data set.
    """
    if len(dataset) == 0:
        raise ConfigError("the validation data set holds no image")
    config = config or InferenceOptions()
    ranks = join()
    num_classes = dataset.num_classes
    confusion = np.zeros((num_classes, num_classes), "int64")
    model.eval()
    samples = validation_samples(dataset, num_workers, ranks.rank, ranks.count)
    for sample in track(samples, -(-len(dataset) // ranks.count), "validation"):
        if "label" not in sample:
            raise DataError("an image of the validation data set has no label; tools/predict.py takes images alone")
        label = np.asarray(sample["label"])[0]
        prediction = predict_labels(model, sample, config)
        confusion += confusion_matrix(prediction, label, num_classes, dataset.ignore_index)
    metrics = Metrics(total(confusion))
    if not metrics.present.any():
        raise DataError("no pixel of the validation data set is labelled: everything is to be ignored")
    return metrics
