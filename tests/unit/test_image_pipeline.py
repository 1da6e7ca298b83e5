"""The pipeline of numpy and OpenCV does what PaddleSeg's transforms do, and undoes it as deploy/README.md says."""

import contextlib

import cv2
import numpy as np
import paddle
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from paddleseg.cvlibs import manager
from paddleseg.transforms import Compose
from transform_table import TRANSFORMS

from paddleseg_ext.core.inference import restore_size
from paddleseg_ext_runtime.deploy_yaml import read_deploy_yaml
from paddleseg_ext_runtime.errors import ConversionError, DataError
from paddleseg_ext_runtime.image_pipeline import ImagePipeline, Step, TooLargeError
from paddleseg_ext_runtime.label_map import palette
from paddleseg_ext_tools.scenes import make_scene

NORMALIZE = {"type": "Normalize", "mean": [0.485, 0.456, 0.406], "std": [0.229, 0.224, 0.225]}
SIZES = [(97, 131), (151, 203), (119, 75)]


@contextlib.contextmanager
def without_ipp():
    before = cv2.ipp.useIPP()
    cv2.ipp.setUseIPP(False)
    yield
    cv2.ipp.setUseIPP(before)


def by_paddleseg(image, transforms):
    """Fresh objects: PaddleSeg's ResizeByShort carries a bound over from one image to the next."""
    built = [manager.TRANSFORMS[item["type"]](**{k: v for k, v in item.items() if k != "type"}) for item in transforms]
    with without_ipp():
        return Compose(built)({"img": image.copy(), "trans_info": [], "gt_fields": []})


@pytest.mark.parametrize("name", TRANSFORMS)
@pytest.mark.parametrize("size", SIZES)
def test_as_paddleseg_bit_for_bit(name, size):
    transforms = [*TRANSFORMS[name], NORMALIZE]
    image = make_scene(3, *size)[0][:, :, ::-1].astype("float32")
    wanted = by_paddleseg(image, transforms)
    before = image.copy()
    x, steps = ImagePipeline(transforms).prepare(image)
    assert (image == before).all() and cv2.ipp.useIPP()
    assert x.dtype == np.float32 and x.flags.c_contiguous and np.array_equal(x[0], wanted["img"])
    # Scores come back as by the network's own framework; the two interpolate with other roundings.
    scores = np.random.default_rng(1).normal(size=(7, *x.shape[2:])).astype("float32")
    scores = cv2.GaussianBlur(scores.transpose(1, 2, 0), (0, 0), 3).transpose(2, 0, 1)
    expected = restore_size(paddle.to_tensor(scores[None]), wanted["trans_info"]).numpy()[0].argmax(axis=0)
    labels = ImagePipeline.restore(scores, x.shape[2:], steps)
    assert labels.shape == size and labels.dtype == np.int32
    assert (labels == expected).mean() > 0.9999


def test_a_fixed_input():
    image = np.random.default_rng(0).uniform(0, 255, (30, 50, 3)).astype("float32")
    x, steps = ImagePipeline([], [1, 3, 24, 32], "BGR").prepare(image)
    with without_ipp():
        assert np.array_equal(x[0].transpose(1, 2, 0), cv2.resize(image, (32, 24), interpolation=cv2.INTER_LINEAR))
    assert steps == (Step("resize", (30, 50)),)
    x, steps = ImagePipeline([], [1, 3, -1, 50]).prepare(image)
    assert x.shape == (1, 3, 30, 50) and not steps


def test_a_grey_picture():
    image = np.full((8, 6), 51, "float32")
    transforms = [{"type": "Normalize"}, {"type": "Resize", "target_size": [4, 4]}]
    x, _ = ImagePipeline(transforms, [1, 1, 9, 5]).prepare(image)
    assert x.shape == (1, 1, 9, 5) and np.allclose(x, (0.2 - 0.5) / 0.5)
    with pytest.raises(DataError, match="3 channels; the image has 1"):
        ImagePipeline([NORMALIZE]).prepare(image)


@settings(max_examples=200, deadline=None)
@given(st.integers(1, 40), st.integers(1, 40), st.integers(1, 40), st.integers(1, 40))
def test_labels_come_from_the_pixel_that_holds_the_centre(old_height, old_width, height, width):
    labels = np.arange(old_height * old_width).reshape(old_height, old_width)
    steps = (Step("resize", (height, width)),)
    restored = ImagePipeline.restore(labels, labels.shape, steps)
    rows = [int((i + 0.5) / height * old_height + 1e-9) for i in range(height)]
    columns = [int((i + 0.5) / width * old_width + 1e-9) for i in range(width)]
    assert restored.tolist() == labels[rows][:, columns].tolist()


def test_of_equal_scores_the_first_class_wins():
    scores = np.stack([np.zeros((3, 4)), np.zeros((3, 4)), np.full((3, 4), -1.0)]).astype("float32")
    assert (ImagePipeline.restore(scores, (3, 4), ()) == 0).all()


@pytest.mark.parametrize(
    ("output", "said"),
    [
        (np.zeros((3, 4), "int32"), r"int32 \[3, 4\]"),
        (np.zeros((2, 6, 8), "int64"), r"int64 \[2, 6, 8\]"),
        (np.zeros((6, 8), "float32"), r"float32 \[6, 8\]"),
        (np.zeros((0, 6, 8), "float32"), r"float32 \[0, 6, 8\]"),
    ],
)
def test_an_output_that_is_neither(output, said):
    with pytest.raises(ConversionError, match=f"the graph gives {said} an image"):
        ImagePipeline.restore(output, (6, 8), ())


@pytest.mark.parametrize(
    ("entry", "said"),
    [
        ({"type": "RandomBlur"}, "'RandomBlur' cannot be executed outside of training"),
        ("Normalize", "must be a mapping with a type, got 'Normalize'"),
        ({"type": "Resize", "keep_rato": True}, "Resize: got an unexpected keyword argument 'keep_rato'"),
        ({"type": "Resize", "target_size": "big"}, "Resize: target_size is 'big'"),
        ({"type": "Resize", "target_size": [64]}, r"Resize: target_size is \[64\]"),
        ({"type": "Resize", "interp": "RANDOM"}, "Resize: interp is 'RANDOM'"),
        ({"type": "ResizeByLong"}, "ResizeByLong: missing 1 required positional argument: 'long_size'"),
        ({"type": "ResizeByShort", "short_size": [1, 2]}, "at random"),
        ({"type": "LimitLong", "max_long": "a"}, "max_long is 'a'"),
        ({"type": "LimitLong", "max_long": 3, "min_long": 4}, "min_long is 4, max_long 3"),
        ({"type": "Normalize", "std": [0, 1, 1]}, "std without a 0"),
        ({"type": "Normalize", "mean": [1, 2]}, "one value or 3 values"),
        ({"type": "Padding", "target_size": [4, 5], "im_padding_value": "x"}, "Padding: could not convert"),
        ({"type": "PaddingByAspectRatio", "aspect_ratio": 0}, "aspect_ratio is 0"),
    ],
)
def test_what_cannot_be_executed_is_refused(entry, said):
    with pytest.raises(ConversionError, match=said):
        ImagePipeline([entry])


def test_padding_smaller_than_the_picture():
    with pytest.raises(DataError, match=r"67x45 \(width x height\) before Padding to 60x60"):
        ImagePipeline([{"type": "Padding", "target_size": [60, 60]}]).prepare(np.zeros((45, 67, 3)))


def test_an_image_that_would_grow_too_large():
    """150x1 pixels, of which the short side is to be 512."""
    pipeline = ImagePipeline([{"type": "ResizeByShort", "short_size": 512}], max_elements=10_000_000)
    with pytest.raises(TooLargeError, match=r"150x1 \(width x height\) would become one of 76800x512"):
        pipeline.prepare(np.zeros((1, 150, 3)))


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("transforms: 5", "transforms and labels must be lists"),
        ("transforms: [{type: [a]}]", "must be a mapping with a type"),
        ("input_shape: [1, true, 4, 4]", "needed is N C H W"),
        ("labels: [{name: a, color: '#ff'}]", "needed is #rrggbb"),
        ("labels: [{name: a}]", "is not a deploy.yaml"),
        ("color_order: CMYK", "color_order is 'CMYK'"),
        ("output_kind: 7", "output_kind is 7"),
    ],
)
def test_descriptions_that_are_wrong(line, said, tmp_path):
    (tmp_path / "deploy.yaml").write_text(f"Deploy:\n  {line}\n")
    with pytest.raises(ConversionError, match=said):
        read_deploy_yaml(tmp_path).pipeline()


def test_a_description_of_paddleseg(tmp_path):
    (tmp_path / "deploy.yaml").write_text(
        "Deploy:\n  input_shape: [-1, 3, -1, -1]\n  model: model.pdmodel\n  params: model.pdiparams\n"
        "  output_dtype: float32\n  output_op: none\n  transforms: [{type: Normalize}]\n"
    )
    config = read_deploy_yaml(tmp_path / "deploy.yaml")
    assert config.input_shape == [None, 3, None, None] and config.channels == 3
    assert (config.num_classes, config.output_kind, config.labels) == (0, "", [])
    assert (config.colors() == palette()).all()
