"""Segmentation metrics from one confusion matrix."""

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Metrics:
    """Metrics of a confusion matrix [K, K] (rows: truth, columns: prediction), as fractions from 0 to 1.

    A class is present when the truth holds at least one of its pixels. `miou` averages over the present classes.
    PaddleSeg averages over all K and counts an absent class as 0 (2.8) or 1 (later). So a data set with ten of 150
    classes gets 0.04 or 0.97 for the same prediction; `miou_all_classes` is the first kind.
    """

    confusion: np.ndarray

    @property
    def present(self) -> np.ndarray:
        """bool [K]: the classes that occur in the truth."""
        return self.confusion.sum(axis=1) > 0

    @property
    def class_iou(self) -> np.ndarray:
        """float [K]: intersection over union; 0 for a class that is neither present nor predicted."""
        hit = np.diag(self.confusion)
        union = self.confusion.sum(axis=0) + self.confusion.sum(axis=1) - hit
        return hit / np.maximum(union, 1)

    @property
    def class_precision(self) -> np.ndarray:
        """float [K]: the fraction of the pixels predicted as a class that belong to it; 0 if none was predicted."""
        return np.diag(self.confusion) / np.maximum(self.confusion.sum(axis=0), 1)

    @property
    def class_recall(self) -> np.ndarray:
        """float [K]: the fraction of the pixels of a class that were predicted; 0 if the class has none."""
        return np.diag(self.confusion) / np.maximum(self.confusion.sum(axis=1), 1)

    @property
    def miou(self) -> float:
        """Mean IoU over the classes present; 0 when there is no labelled pixel."""
        return float(self.class_iou[self.present].mean()) if self.present.any() else 0.0

    @property
    def miou_all_classes(self) -> float:
        """Mean IoU over all K classes, absent ones counting 0."""
        return float(self.class_iou.mean())

    @property
    def accuracy(self) -> float:
        """The fraction of labelled pixels predicted right."""
        return float(np.diag(self.confusion).sum() / max(self.confusion.sum(), 1))

    @property
    def kappa(self) -> float:
        """Cohen's kappa: agreement beyond what the class frequencies give by chance."""
        total = max(self.confusion.sum(), 1)
        chance = float((self.confusion.sum(axis=0) / total) @ (self.confusion.sum(axis=1) / total))
        return (self.accuracy - chance) / (1 - chance) if chance < 1 else 0.0

    def summary(self) -> str:
        """One line with the figures and the number of classes that they average over."""
        return (
            f"mIoU {self.miou:.4f} over {int(self.present.sum())} classes present "
            f"({self.miou_all_classes:.4f} over all {len(self.present)}), "
            f"Acc {self.accuracy:.4f}, Kappa {self.kappa:.4f}"
        )

    def to_dict(self) -> dict:
        """Plain numbers for JSON."""
        return {
            "miou": self.miou,
            "miou_all_classes": self.miou_all_classes,
            "classes_present": int(self.present.sum()),
            "accuracy": self.accuracy,
            "kappa": self.kappa,
            "class_iou": {int(k): float(self.class_iou[k]) for k in np.flatnonzero(self.present)},
            "confusion": self.confusion.tolist(),
        }


def confusion_matrix(prediction: np.ndarray, label: np.ndarray, num_classes: int, ignore_index: int) -> np.ndarray:
    """int64 [K, K] of one image: pixels by (truth, prediction), without those labelled `ignore_index`."""
    counted = label != ignore_index
    pairs = label[counted].astype("int64") * num_classes + prediction[counted]
    return np.bincount(pairs, minlength=num_classes**2).reshape(num_classes, num_classes)
