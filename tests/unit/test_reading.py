import io

import cv2
import numpy as np
import pytest
from PIL import Image, PngImagePlugin

from paddleseg_ext.datasets.ade20k import ADE20K
from paddleseg_ext_runtime.errors import DataError
from paddleseg_ext_runtime.reading import TooManyPixelsError, check_same_size, decode_image, read_image, read_label


@pytest.fixture
def picture(tmp_path):
    path = tmp_path / "picture.jpg"
    noise = np.random.RandomState(0).randint(0, 255, (60, 80, 3), dtype="uint8")
    cv2.imwrite(str(path), noise)
    return path


def save_label(path, values, mode="L"):
    Image.fromarray(np.asarray(values, "uint8")).convert(mode).save(path)
    return path


def test_reads_bgr_float(picture):
    image = read_image(picture)
    assert image.shape == (60, 80, 3) and image.dtype == np.float32
    assert (image == cv2.imread(str(picture))).all()


@pytest.mark.parametrize("kept", [0.05, 0.3, 0.6, 0.9, 0.99])
def test_truncated_jpeg_is_named(picture, kept):
    data = picture.read_bytes()
    picture.write_bytes(data[: int(len(data) * kept)])
    with pytest.raises(DataError, match=r"picture\.jpg is truncated"):
        read_image(picture)


def test_trailing_bytes_are_no_truncation(picture):
    picture.write_bytes(picture.read_bytes() + b"\0" * 100)
    assert read_image(picture).shape == (60, 80, 3)


def test_a_film_behind_a_jpeg_is_nobodys_business(picture):
    """Motion photographs have one, in which any marker may occur."""
    whole = picture.read_bytes()
    picture.write_bytes(whole + b"\xff\xda film \xff\x00")
    assert read_image(picture).shape == (60, 80, 3)
    picture.write_bytes(whole[:-60] + b"\xff\xda film \xff\x00")
    with pytest.raises(DataError, match="is truncated"):
        read_image(picture)


def test_a_thumbnail_does_not_stand_for_the_picture(tmp_path):
    thumbnail, path = io.BytesIO(), tmp_path / "picture.jpg"
    image = Image.fromarray(np.random.RandomState(0).randint(0, 255, (60, 80, 3), dtype="uint8"))
    image.resize((8, 6)).save(thumbnail, "JPEG")
    image.save(path, exif=b"Exif\0\0II*\0\x08\0\0\0\0\0" + thumbnail.getvalue())
    assert read_image(path).shape == (60, 80, 3)
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(DataError, match="is truncated"):
        read_image(path)


@pytest.mark.parametrize(("orientation", "is_read"), [(1, True), (6, False)])
def test_a_webp_that_opencv_would_not_turn_is_refused(tmp_path, orientation, is_read):
    exif = Image.Exif()
    exif[0x0112] = orientation
    Image.new("RGB", (80, 60)).save(tmp_path / "a.webp", exif=exif)
    if is_read:
        assert read_image(tmp_path / "a.webp").shape == (60, 80, 3)
    else:
        with pytest.raises(DataError, match=r"a\.webp is a WebP to be turned by its EXIF data"):
            read_image(tmp_path / "a.webp")


def test_truncated_png_is_named(tmp_path):
    path = tmp_path / "label.png"
    save_label(path, np.random.RandomState(0).randint(0, 9, (40, 40)))
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(DataError, match=r"label\.png is truncated"):
        read_label(path, 10)


@pytest.mark.parametrize(("content", "reason"), [(b"", "is empty"), (b"no image at all", "not an image")])
def test_no_image(tmp_path, content, reason):
    path = tmp_path / "x.jpg"
    path.write_bytes(content)
    with pytest.raises(DataError, match=reason):
        read_image(path)


def test_missing_image(tmp_path):
    with pytest.raises(DataError, match=r"cannot read .*nowhere\.jpg: No such file"):
        read_image(tmp_path / "nowhere.jpg")


def test_label_counts_from_one_with_zero_ignored(tmp_path):
    path = save_label(tmp_path / "l.png", [[0, 1], [150, 255]])
    assert read_label(path, 150, zero_is_ignore=True).tolist() == [[255, 0], [149, 255]]


def test_palette_label_gives_its_indices(tmp_path):
    image = Image.fromarray(np.asarray([[0, 1], [2, 255]], "uint8"), "P")
    image.putpalette([7, 8, 9] * 256)
    image.save(tmp_path / "l.png")
    assert read_label(tmp_path / "l.png", 3).tolist() == [[0, 1], [2, 255]]


def test_label_out_of_range_is_named_with_its_value(tmp_path):
    path = save_label(tmp_path / "l.png", [[200, 3], [200, 4]])
    with pytest.raises(DataError, match=r"l\.png holds the label 200 in 2 pixels; allowed are 1 to 150"):
        read_label(path, 150, zero_is_ignore=True)
    with pytest.raises(DataError, match=r"allowed are 0 to 18"):
        read_label(path, 19)


def test_colour_label_is_refused(tmp_path):
    path = save_label(tmp_path / "l.png", [[1, 2]], mode="RGB")
    with pytest.raises(DataError, match="one channel"):
        read_label(path, 10)


def test_a_decompression_bomb_is_refused_before_it_is_decoded(tmp_path):
    path = tmp_path / "bomb.png"
    Image.new("1", (20000, 6000)).save(path)
    with pytest.raises(DataError, match=r"bomb\.png is 20000x6000; at most 100 million pixels"):
        read_image(path)


def test_bytes_are_read_as_files_are(picture):
    data = picture.read_bytes()
    image = decode_image(data, "the upload")
    assert image.dtype == np.uint8 and (image == read_image(picture)).all()
    assert decode_image(data, "the upload", channels=1).shape == (60, 80)
    with pytest.raises(DataError, match="the upload is truncated"):
        decode_image(data[:1000], "the upload")
    with pytest.raises(TooManyPixelsError, match=r"the upload is 80x60; at most 0\.0047 million pixels are read"):
        decode_image(data, "the upload", max_pixels=4700)


def test_a_text_that_unpacks_to_much_is_no_header(tmp_path):
    """Pillow says so with a ValueError."""
    buffer, text = io.BytesIO(), PngImagePlugin.PngInfo()
    text.add_text("a", "x" * 5_000_000, zip=True)
    Image.new("L", (4, 4)).save(buffer, "PNG", pnginfo=text)
    with pytest.raises(DataError, match="the upload has a header that cannot be read"):
        decode_image(buffer.getvalue(), "the upload")


def test_size_mismatch_names_both():
    with pytest.raises(DataError, match="a is 3x2 but its label b is 4x2"):
        check_same_size(np.zeros((2, 3, 3)), np.zeros((2, 4)), "a", "b")


def test_ade20k_pairs_by_name_and_shifts_labels(scenes):
    dataset = ADE20K([], str(scenes), "val")
    assert len(dataset) == 4
    sample = dataset[0]
    assert sample["img"].shape == (3, 128, 128) and sample["label"].shape == (1, 128, 128)
    raw = np.asarray(Image.open(dataset.file_list[0][1]))
    assert (sample["label"][0] == np.where(raw == 0, 255, raw - 1)).all()


def test_ade20k_without_a_label(tmp_path, scenes):
    for folder in ("images", "annotations"):
        (tmp_path / folder / "training").mkdir(parents=True)
    (tmp_path / "images" / "training" / "a.jpg").touch()
    with pytest.raises(DataError, match=r"1 of 2 files of the data set are missing, the first is .*a\.png"):
        ADE20K([], str(tmp_path))


def test_ade20k_missing_says_what_is_needed(tmp_path):
    with pytest.raises(DataError, match=r"(?s)no ADE20K data set at .*images/training.*make_scenes"):
        ADE20K([], str(tmp_path / "nothing"))
