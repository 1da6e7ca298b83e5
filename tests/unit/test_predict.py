"""predict: overlays, label maps, colours, and what a command line names."""

import cv2
import numpy as np
import paddle
import pytest
from paddleseg.utils.visualize import get_color_map_list
from PIL import Image

from paddleseg_ext.core.inference import InferenceOptions, predict_scores
from paddleseg_ext.export.static_graph import with_output_op
from paddleseg_ext.models.base import SegmentationModel
from paddleseg_ext_runtime.errors import ConfigError, ConversionError, DataError
from paddleseg_ext_runtime.image_pipeline import ImagePipeline
from paddleseg_ext_runtime.label_map import encode_labels, overlay, palette
from paddleseg_ext_runtime.pictures import list_pictures
from paddleseg_ext_runtime.prediction import Results, predict_pictures
from paddleseg_ext_runtime.segmenter import Segmenter


class Brightness(SegmentationModel):
    """Class 1 where the picture is bright."""

    def logits(self, x):
        return paddle.concat([paddle.full_like(x[:, :1], 100.0), x[:, :1]], axis=1)


def scores(x):
    return predict_scores(Brightness(num_classes=2), x, InferenceOptions())


def predict(path, save_dir, colors):
    results = Results(save_dir, colors, has_overlays=True)
    return predict_pictures(Segmenter(scores, ImagePipeline()), list_pictures(path), results)


@pytest.fixture
def picture(tmp_path):
    image = np.zeros((10, 16, 3), "uint8")
    image[:, 8:] = (200, 180, 160)
    cv2.imwrite(str(tmp_path / "a.png"), image)
    return tmp_path / "a.png", image


def test_overlay_and_labels(picture, tmp_path):
    path, image = picture
    colors = palette([10, 20, 30, 250, 0, 90])
    assert predict(path, tmp_path / "out", colors) == 1
    with Image.open(tmp_path / "out" / "pseudo_color_prediction" / "a.png") as file:
        labels = np.asarray(file)
        colored = np.asarray(file.convert("RGB"))
    assert (labels == (np.arange(16) >= 8)).all()
    assert colored[0, 0].tolist() == [10, 20, 30] and colored[0, 15].tolist() == [250, 0, 90]
    drawn = cv2.imread(str(tmp_path / "out" / "added_prediction" / "a.png"))
    assert np.allclose(drawn[0, 15], 0.6 * image[0, 15] + 0.4 * np.array([90, 0, 250]), atol=1)


def test_a_bad_picture_does_not_stop_the_others(picture, tmp_path):
    (tmp_path / "b.png").write_bytes(picture[0].read_bytes()[:-20])
    with pytest.raises(DataError, match=r"1 of 2 images were left out:\n.*b\.png is truncated"):
        predict(tmp_path, tmp_path / "out", palette())
    assert (tmp_path / "out" / "pseudo_color_prediction" / "a.png").is_file()


def test_predicting_as_the_export_would(picture, tmp_path):
    """Labels come back by the nearest neighbour, so the picture's own size shows no label in between."""
    image = cv2.imread(str(picture[0])).astype("float32")
    pipeline = ImagePipeline([{"type": "Resize", "target_size": [8, 5]}])
    x, steps = pipeline.prepare(image)
    wrapped = with_output_op(Brightness(num_classes=2), "argmax", x)
    labels = pipeline.restore(wrapped(paddle.to_tensor(x)).numpy()[0], x.shape[2:], steps)
    assert labels.shape == (10, 16) and (labels == (np.arange(16) >= 8)).all()


def test_colours():
    assert palette([1, 2, 3])[0].tolist() == [1, 2, 3]
    assert (palette() == np.reshape(get_color_map_list(256), (-1, 3))[:256]).all()
    with pytest.raises(ConfigError, match="R G B triples"):
        palette([1, 2])


def test_a_label_that_no_palette_holds():
    with pytest.raises(ConversionError, match="labels run from 0 to 300"):
        encode_labels(np.array([[0, 300]]), palette())


def test_an_overlay_of_a_grey_picture():
    drawn = overlay(np.full((2, 3), 100, "float32"), np.zeros((2, 3), "int32"), palette([0, 0, 0]))
    assert drawn.shape == (2, 3, 3) and (drawn == 60).all()


@pytest.mark.parametrize("content", ["", "notes.pdf\n", "x" * 5000, "a\0b.png"])
def test_lists_without_images(tmp_path, content):
    (tmp_path / "list.txt").write_text(content)
    with pytest.raises(DataError, match=r"names no image|which is no image|neither an image nor"):
        list_pictures(tmp_path / "list.txt")
    with pytest.raises(DataError, match="no image, folder or list at"):
        list_pictures(tmp_path / "nothing")


def test_two_pictures_of_one_name(picture, tmp_path):
    cv2.imwrite(str(tmp_path / "a.jpg"), picture[1])
    with pytest.raises(DataError, match=r"a\.jpg and .*a\.png would both give the mask a\.png"):
        list_pictures(tmp_path)
