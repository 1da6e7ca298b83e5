import cv2
import numpy as np
import paddle
import pytest
from PIL import Image

from paddleseg_ext.core.predict import list_pictures, palette, predict
from paddleseg_ext.errors import ConfigError, DataError
from paddleseg_ext.models.base import SegmentationModel


class Brightness(SegmentationModel):
    """Class 1 where the picture is bright."""

    def logits(self, x):
        return paddle.concat([paddle.full_like(x[:, :1], 100.0), x[:, :1]], axis=1)


@pytest.fixture
def picture(tmp_path):
    image = np.zeros((10, 16, 3), "uint8")
    image[:, 8:] = (200, 180, 160)
    cv2.imwrite(str(tmp_path / "a.png"), image)
    return tmp_path / "a.png", image


def test_overlay_and_labels(picture, tmp_path):
    path, image = picture
    count = predict(
        Brightness(num_classes=2), [], list_pictures(path), tmp_path / "out", custom_color=[10, 20, 30, 250, 0, 90]
    )
    assert count == 1
    with Image.open(tmp_path / "out" / "pseudo_color_prediction" / "a.png") as file:
        labels = np.asarray(file)
        colors = np.asarray(file.convert("RGB"))
    assert (labels == (np.arange(16) >= 8)).all()
    assert colors[0, 0].tolist() == [10, 20, 30] and colors[0, 15].tolist() == [250, 0, 90]
    overlay = cv2.imread(str(tmp_path / "out" / "added_prediction" / "a.png"))
    assert np.allclose(overlay[0, 15], 0.6 * image[0, 15] + 0.4 * np.array([90, 0, 250]), atol=1)


def test_colours(tmp_path):
    assert palette().shape == (256, 3) and palette([1, 2, 3])[0].tolist() == [1, 2, 3]
    with pytest.raises(ConfigError, match="R G B triples"):
        palette([1, 2])


@pytest.mark.parametrize("content", ["", "notes.pdf\n"])
def test_lists_without_images(tmp_path, content):
    (tmp_path / "list.txt").write_text(content)
    with pytest.raises(DataError, match=r"names no image|which is no image"):
        list_pictures(tmp_path / "list.txt")
    with pytest.raises(DataError, match="no image, folder or list at"):
        list_pictures(tmp_path / "nothing")
