"""Cityscapes and CamVid on disk, and what is said of a data set that is not whole."""

import shutil

import cv2
import numpy as np
import paddle
import pytest
from paddleseg.cvlibs import manager

from paddleseg_ext.core.val import evaluate
from paddleseg_ext.datasets import Cityscapes
from paddleseg_ext_runtime.errors import ConfigError, DataError
from paddleseg_ext_runtime.log import get_logger
from paddleseg_ext_tools.scenes import write_dataset


@pytest.fixture(scope="module")
def drawn(tmp_path_factory):
    folder = tmp_path_factory.mktemp("drawn")
    for layout in ("cityscapes", "camvid"):
        write_dataset(folder / layout, train=4, val=2, size=(48, 96), layout=layout)
    return folder


@pytest.fixture
def cityscapes(drawn, tmp_path):
    shutil.copytree(drawn / "cityscapes", tmp_path / "cityscapes")
    return tmp_path / "cityscapes"


@pytest.fixture
def camvid(drawn, tmp_path):
    shutil.copytree(drawn / "camvid", tmp_path / "camvid")
    return tmp_path / "camvid"


def read_camvid(root, mode="train"):
    lists = {f"{name}_path": str(root / f"{name}.txt") for name in ("train", "val", "test")}
    return manager.DATASETS["Dataset"](mode, str(root), [], num_classes=11, **lists)


def test_the_readers_are_ours():
    assert manager.DATASETS["Cityscapes"] is Cityscapes
    assert manager.DATASETS["Dataset"].__module__ == "paddleseg_ext.datasets.file_list"


@pytest.mark.parametrize(("mode", "length"), [("train", 4), ("VAL", 2), ("test", 2)])
def test_cityscapes_pairs_by_city_and_name(cityscapes, mode, length):
    data = Cityscapes([], str(cityscapes), mode)
    assert len(data) == length and data.num_classes == 19
    for (image, label), sample in zip(data.file_list, data, strict=True):
        assert sample["img"].shape == (3, 48, 96)
        if mode == "test":
            assert label is None and "label" not in sample
            continue
        assert label == image.replace("leftImg8bit.png", "gtFine_labelTrainIds.png").replace("leftImg8bit", "gtFine")
        assert set(np.unique(sample["label"])) <= {*range(19), 255} and (sample["label"] != 255).any()


def test_cityscapes_gives_edges_and_validation_labels_as_paddleseg_does(cityscapes):
    sample = Cityscapes([], str(cityscapes), edge=True)[0]
    assert sample["edge"].shape[-2:] == (48, 96) and set(np.unique(sample["edge"])) == {0, 1}
    assert Cityscapes([], str(cityscapes), "val")[0]["label"].shape == (1, 48, 96)


@pytest.mark.parametrize(("folder", "suffix"), [("gtFine", "_gtFine_labelTrainIds"), ("leftImg8bit", "_leftImg8bit")])
def test_a_missing_file_of_cityscapes_is_an_error_that_names_it(cityscapes, folder, suffix):
    """PaddleSeg zips two sorted lists: every later image would then get its neighbour's label."""
    victim = cityscapes / folder / "train" / "eastham" / f"eastham_000000_000002{suffix}.png"
    victim.unlink()
    what = "images .* have no label" if folder == "gtFine" else "labels .* have no image"
    with pytest.raises(DataError, match=rf"1 of 4 {what}, the first that is missing is {victim}$"):
        Cityscapes([], str(cityscapes))
    assert len(Cityscapes([], str(cityscapes), "val")) == 2


def test_raw_labels_alone_are_met_with_how_to_convert_them(cityscapes):
    for path in (cityscapes / "gtFine").rglob("*_labelTrainIds.png"):
        path.rename(path.with_name(path.name.replace("TrainIds", "Ids")))
    with pytest.raises(DataError, match=rf"4 of 4 images .*CITYSCAPES_DATASET={cityscapes} csCreateTrainIdLabelImgs"):
        Cityscapes([], str(cityscapes))


def test_raw_label_values_in_the_place_of_training_ones(cityscapes):
    path = next((cityscapes / "gtFine" / "train").rglob("*.png"))
    cv2.imwrite(str(path), np.full((48, 96), 26, "uint8"))
    data = Cityscapes([], str(cityscapes))
    with pytest.raises(DataError, match=f"{path.name} holds the label 26"):
        data.check_some()


def test_no_cityscapes_there(tmp_path):
    with pytest.raises(DataError, match=r"(?s)no Cityscapes data set at .*gtFine/train/<city>.*--layout cityscapes"):
        Cityscapes([], str(tmp_path))
    with pytest.raises(ConfigError, match="must be one of train, val, test"):
        Cityscapes([], str(tmp_path), "training")


def test_images_alone_cannot_be_evaluated(cityscapes):
    with pytest.raises(DataError, match=r"no label; tools/predict\.py takes images alone"):
        evaluate(paddle.nn.Identity(), Cityscapes([], str(cityscapes), "test"))


def test_lists_of_cityscapes_serve_the_general_reader(cityscapes):
    data = manager.DATASETS["Dataset"](
        "train", str(cityscapes), [], num_classes=19, train_path=str(cityscapes / "trainval.list")
    )
    assert len(data) == 6 and {label for _, label in data.file_list} >= {
        label for _, label in Cityscapes([], str(cityscapes), "val").file_list
    }


def test_camvid_is_read_by_its_lists(camvid):
    for mode, length in (("train", 4), ("val", 2), ("test", 2)):
        data = read_camvid(camvid, mode)
        assert len(data) == length
        for (image, label), sample in zip(data.file_list, data, strict=True):
            assert label == image.replace("images", "annot")
            assert set(np.unique(sample["label"])) <= {*range(11), 255}


@pytest.mark.parametrize("folder", ["images", "annot"])
def test_a_missing_file_of_camvid_is_an_error_that_names_it(camvid, folder):
    victim = camvid / folder / "train_000002.png"
    victim.unlink()
    with pytest.raises(DataError, match=rf"1 of 8 files of the data set are missing, the first is {victim}"):
        read_camvid(camvid)
    assert len(read_camvid(camvid, "val")) == 2


def test_no_camvid_there(tmp_path):
    with pytest.raises(DataError, match=r"no data set at .*--opts val_dataset.dataset_root=… val_dataset.test_path=…"):
        read_camvid(tmp_path / "nowhere", "test")


def test_a_list_that_slipped_is_pointed_out(camvid, caplog, monkeypatch):
    monkeypatch.setattr(get_logger(), "propagate", True)
    read_camvid(camvid)
    assert not caplog.records
    lines = (camvid / "train.txt").read_text().splitlines()
    images, labels = zip(*(line.split() for line in lines), strict=True)
    slipped = [f"{image} {label}" for image, label in zip(images[:-1], labels[1:], strict=True)]
    (camvid / "train.txt").write_text("\n".join(slipped))
    message = "pairs 2 of 3 images with the label of another one, by name; the first is train_000001 with train_000002"
    with pytest.raises(DataError, match=message):
        read_camvid(camvid)
    (camvid / "train.txt").write_text("\n".join([slipped[0], *lines[1:]]))
    read_camvid(camvid)
    assert "pairs 1 of 4 images with the label of another one" in caplog.text


def test_a_slipped_list_is_seen_behind_a_suffix_of_the_labels(camvid):
    lines = (camvid / "train.txt").read_text().splitlines()
    images, labels = zip(*(line.split() for line in lines), strict=True)
    renamed = [label.replace(".png", "_L.png") for label in labels]
    for old, new in zip(labels, renamed, strict=True):
        (camvid / old).rename(camvid / new)
    (camvid / "train.txt").write_text("\n".join(map(" ".join, zip(images, renamed, strict=True))))
    assert len(read_camvid(camvid)) == 4
    (camvid / "train.txt").write_text("\n".join(map(" ".join, zip(images[:-1], renamed[1:], strict=True))))
    with pytest.raises(DataError, match="pairs 2 of 3 images with the label of another one"):
        read_camvid(camvid)
