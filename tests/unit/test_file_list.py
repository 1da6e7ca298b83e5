import cv2
import numpy as np
import pytest
from paddleseg.cvlibs import manager

from paddleseg_ext_runtime.errors import ConfigError, DataError


@pytest.fixture
def root(tmp_path):
    for i in range(3):
        cv2.imwrite(str(tmp_path / f"i {i}.png"), np.full((6, 8, 3), 40 * i, "uint8"))
        cv2.imwrite(str(tmp_path / f"l {i}.png"), np.full((6, 8), i, "uint8"))
    (tmp_path / "train.txt").write_text("i 0.png|l 0.png\n\ni 1.png|l 1.png\n")
    (tmp_path / "test.txt").write_text("i 2.png\n")
    return tmp_path


def dataset(root, mode="train", **settings):
    lists = {f"{name}_path": str(root / f"{name}.txt") for name in ("train", "val", "test")}
    settings = {"num_classes": 3, "separator": "|", "transforms": [], **lists, **settings}
    return manager.DATASETS["Dataset"](mode=mode, dataset_root=str(root), **settings)


def test_reads_pairs_and_passes_over_blank_lines(root):
    samples = dataset(root)
    assert len(samples) == 2
    assert samples[1]["img"].shape == (3, 6, 8) and (samples[1]["label"] == 1).all()


def test_a_test_list_may_name_images_alone(root):
    sample = dataset(root, "test")[0]
    assert "label" not in sample and (sample["img"] == 80).all()


def test_grey_images(root):
    assert dataset(root, img_channels=1)[0]["img"].shape == (1, 6, 8)


def test_another_number_is_ignored(root):
    sample = dataset(root, num_classes=1, ignore_index=1)[1]
    assert (sample["label"] == 1).all()


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"separator": " "}, DataError, r"train\.txt, line 1: .* another separator"),
        ({"train_path": "none.txt"}, DataError, r"cannot read the list none\.txt"),
        ({"train_path": None}, ConfigError, "needs train_path"),
        ({"mode": "all"}, ConfigError, "must be one of train, val, test"),
        ({"img_channels": 4}, ConfigError, "must be 1 or 3"),
    ],
)
def test_mistakes(root, change, error, message):
    with pytest.raises(error, match=message):
        dataset(root, **change)


def test_missing_files_and_labels_out_of_range(root):
    with pytest.raises(DataError, match="holds the label 1 in 48 pixels; allowed are 0 to 0, and 255"):
        dataset(root, num_classes=1)[1]
    (root / "l 1.png").unlink()
    with pytest.raises(DataError, match=r"1 of 4 files of the data set are missing, the first is .*l 1\.png"):
        dataset(root)
