import numpy as np
import pytest

from paddleseg_ext.core.metrics import Metrics, confusion_matrix


def metrics(truth, prediction, classes=4, ignore=255):
    return Metrics(confusion_matrix(np.asarray(prediction), np.asarray(truth), classes, ignore))


def test_perfect():
    result = metrics([[0, 1], [1, 255]], [[0, 1], [1, 3]])
    assert (result.miou, result.accuracy, result.kappa) == (1, 1, 1)
    assert result.present.tolist() == [True, True, False, False]
    assert result.miou_all_classes == 0.5


def test_all_wrong_is_zero_not_nearly_one():
    # PaddleSeg's later versions count every absent class as 1 and report 0.9867 for 150 classes.
    result = metrics([[0, 0]], [[1, 1]], classes=150)
    assert result.miou == 0 and result.miou_all_classes == 0 and result.accuracy == 0


def test_by_hand():
    result = metrics([0, 0, 0, 1, 1, 2], [0, 0, 1, 1, 2, 2])
    assert result.class_iou[:3].tolist() == pytest.approx([2 / 3, 1 / 3, 1 / 2])
    assert result.class_precision[:3].tolist() == pytest.approx([1, 1 / 2, 1 / 2])
    assert result.class_recall[:3].tolist() == pytest.approx([2 / 3, 1 / 2, 1])
    assert result.miou == pytest.approx(0.5)
    assert result.accuracy == pytest.approx(4 / 6)
    assert result.kappa == pytest.approx((4 / 6 - 12 / 36) / (1 - 12 / 36))


def test_ignored_pixels_do_not_count():
    assert metrics([255, 255, 1], [0, 1, 1]).confusion.sum() == 1


def test_nothing_labelled():
    result = metrics([255], [0])
    assert (result.miou, result.accuracy) == (0, 0)


def test_false_positives_of_an_absent_class_cost_the_present_ones():
    result = metrics([0, 0], [0, 3])
    assert result.class_iou[0] == 0.5 and result.miou == 0.5
