import numpy as np
import paddle
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from paddleseg_ext.models.output_ops import OUTPUT_OPS, Argmax, ExactValidInterpolate, ValidInterpolate


def scene_logits(seed, classes, height, width, winners):
    """Smooth logits in which only `winners` classes are ever large."""
    rng = np.random.RandomState(seed)
    coarse = 0.3 * rng.randn(1, classes, 4, 5)
    coarse[:, :winners] += 3 * rng.randn(1, winners, 4, 5)
    coarse = paddle.to_tensor(coarse.astype("float32"))
    return paddle.nn.functional.interpolate(coarse, [height, width], mode="bicubic")


def assert_exact(logits, size, align_corners=False):
    expected = Argmax(align_corners)(logits, size).numpy()
    actual = ExactValidInterpolate(align_corners)(logits, size).numpy()
    assert actual.dtype == np.int32 and actual.shape == expected.shape
    assert (actual == expected).all(), f"{(actual != expected).sum()} pixels differ"


@settings(max_examples=60, deadline=None)
@given(
    seed=st.integers(0, 2**31 - 1),
    classes=st.integers(1, 40),
    height=st.integers(1, 9),
    width=st.integers(1, 9),
    size=st.tuples(st.integers(1, 40), st.integers(1, 40)),
    levels=st.sampled_from([0, 2, 5]),
    magnitude=st.sampled_from([1e-38, 1.0, 1e6]),
    align_corners=st.booleans(),
)
def test_exact_vim_equals_argmax_on_random_and_tied_logits(
    seed, classes, height, width, size, levels, magnitude, align_corners
):
    logits = np.random.RandomState(seed).randn(2, classes, height, width)
    if levels:  # few distinct values: ties everywhere
        logits = np.round(logits * levels) / levels
    logits = paddle.to_tensor((logits * magnitude).astype("float32"))
    assert_exact(logits, list(size), align_corners)


def test_exact_vim_allows_for_rounding():
    """Logits a few roundings apart: what wins a pixel is decided by how interpolation rounds."""
    rng = np.random.RandomState(0)
    for _ in range(400):
        height, width, rows, columns = rng.randint(1, 7), rng.randint(1, 7), rng.randint(1, 40), rng.randint(1, 40)
        value = np.float32(rng.uniform(0.5, 2.0))
        logits = value + rng.randint(-2, 3, (1, 4, height, width)) * np.spacing(value)
        assert_exact(paddle.to_tensor(logits.astype("float32")), [rows, columns], bool(rng.randint(2)))


@pytest.mark.parametrize("align_corners", [False, True])
def test_exact_vim_keeps_a_class_that_wins_only_between_pixels(align_corners):
    # Class 2 is second at every decoder pixel, and first halfway between them.
    logits = np.zeros((1, 3, 1, 2), "float32")
    logits[0, 0] = [[10.0, -10.0]]
    logits[0, 1] = [[-10.0, 10.0]]
    logits[0, 2] = [[4.0, 4.0]]
    logits = paddle.to_tensor(logits)
    assert 2 in Argmax(align_corners)(logits, [4, 9]).numpy()
    assert ValidInterpolate(align_corners).kept(logits).numpy().tolist() == [0, 1]
    assert_exact(logits, [4, 9], align_corners)


@pytest.mark.parametrize("classes", [2, 19, 29, 30, 150])
def test_vim_at_any_number_of_classes(classes):
    logits = scene_logits(0, classes, 16, 20, min(classes, 6))
    labels = ValidInterpolate()(logits, [128, 160]).numpy()
    expected = Argmax()(logits, [128, 160]).numpy()
    assert (labels == expected).mean() > 0.98
    assert set(np.unique(labels)) <= set(ValidInterpolate().kept(logits).numpy())
    assert_exact(logits, [128, 160])


def test_exact_vim_drops_most_classes():
    logits = scene_logits(1, 150, 64, 64, 10)
    kept = ExactValidInterpolate().kept(logits).numpy()
    assert len(kept) < 60
    assert set(ValidInterpolate().kept(logits).numpy()) <= set(kept)
    assert (np.diff(kept) > 0).all()


@pytest.mark.parametrize("name", OUTPUT_OPS)
def test_declared_dtype_and_shape(name):
    op = OUTPUT_OPS[name]()
    logits = scene_logits(2, 12, 8, 10, 5)
    result = op(logits, [64, 80])
    assert str(result.numpy().dtype) == op.dtype
    expected = [1, 64, 80] if op.is_labels else [1, 12, 8, 10] if name == "decoder" else [1, 12, 64, 80]
    assert result.shape == expected
    assert list(op.parameters()) == []


def test_the_names_that_command_lines_offer():
    from paddleseg_ext_runtime import output_ops

    assert set(output_ops.OUTPUT_OPS) == set(OUTPUT_OPS)
    assert set(output_ops.LABEL_OPS) == {name for name, op in OUTPUT_OPS.items() if op.is_labels}
