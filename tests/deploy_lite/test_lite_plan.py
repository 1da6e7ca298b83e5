"""Finding models, reading deploy.yaml, reading and making the input."""

from __future__ import annotations

import numpy as np
import pytest
import yaml

from paddleseg_lite.deploy_yaml import parse_yaml, read_deploy
from paddleseg_lite.errors import DataError
from paddleseg_lite.gen_val_txt import Recipe, image_tensor, read_recipe, write_tensor
from paddleseg_lite.plan import find_cases
from paddleseg_lite.tensors import read_input

YAMLS = [
    "a: 1\nb: [1, 3, -1, -1]\nc: {x: 1.5, y: [a, b]}\n",
    "Deploy:\n  input_shape:\n  - 1\n  - 3\n  model: model.pdmodel  # comment\n  transforms: null\n",
    "t:\n- type: Resize\n  target_size: [2, 3]\n-\n  type: Normalize\n- plain\n",
    "t:\n  - mean:\n      - 0.5\n      - 1\n    type: Normalize\n  - {type: Crop, size: [4, 5]}\nu: '5'\n",
    'a: "x # y"\nb: true\nc:\nd: none\ne: ~\nf: C:/x\ng: "it: is"\n',
    "---\na:\n    b:\n        c: 1e-3\n    d: []\ne: {}\n",
]


def make_model(folder, params="model.pdiparams", deploy="Deploy:\n  input_shape: [1, 3, 8, 8]\n"):
    folder.mkdir(parents=True)
    (folder / "model.pdmodel").write_bytes(b"x")
    (folder / params).write_bytes(b"x")
    if deploy is not None:
        (folder / "deploy.yaml").write_text(deploy)
    return folder


@pytest.mark.parametrize("text", YAMLS)
def test_the_small_yaml_reader_agrees_with_the_large_one(text):
    expected = yaml.safe_load(text.replace("1e-3", "1.0e-3"))
    assert parse_yaml(text) == expected


@pytest.mark.parametrize("text", ["a: [1, 2", "a: |\n  b", "just words", "a: 1\n   b: 2", "a: &x 1", "a: [1] 2"])
def test_yaml_it_does_not_know_is_an_error_that_names_the_line(text):
    with pytest.raises(ValueError, match=r"line \d"):
        parse_yaml(text)


@pytest.mark.parametrize("text", ["", "Other: 1\n", "- 1\n", "Deploy: 3\n", "Deploy: [\n"])
def test_a_file_that_is_no_deploy_yaml(tmp_path, text):
    path = tmp_path / "deploy.yaml"
    path.write_text(text)
    with pytest.raises(DataError, match=r"deploy\.yaml"):
        read_deploy(path)


def test_models_of_every_form_are_found(tmp_path):
    make_model(tmp_path / "b_misspelt", params="mdoel.pdiparams")
    make_model(tmp_path / "a_plain", deploy="Deploy:\n  output_op: vim\n  input_shape:\n  - 1\n  - 3\n  - 4\n  - 6\n")
    make_model(tmp_path / "c_variable", deploy="Deploy:\n  input_shape: [-1, 3, -1, -1]\n")
    (tmp_path / "d_ready.nb").write_bytes(b"x")
    (tmp_path / "notes.txt").write_text("")
    (tmp_path / "half").mkdir()
    (tmp_path / "half" / "model.pdmodel").write_bytes(b"x")
    cases = {case.model_name: case for case in find_cases(tmp_path)}
    assert list(cases) == ["d_ready", "a_plain", "b_misspelt", "c_variable"]
    assert cases["b_misspelt"].param_file.name == "mdoel.pdiparams"
    assert (cases["a_plain"].input_shape, cases["a_plain"].output_op) == ((1, 3, 4, 6), "vim")
    assert cases["c_variable"].input_shape is None
    assert cases["d_ready"].nb_file and cases["d_ready"].model_file is None
    given = find_cases(tmp_path, threads=(1, 2), input_shape=(1, 3, 5, 5))
    assert len(given) == 8 and given[-1].input_shape == (1, 3, 5, 5)
    assert given[-1].key("x86") == "c_variable-x86-t2"


def test_one_exported_folder_is_a_models_dir_too(tmp_path):
    folder = make_model(tmp_path / "pp_mobileseg")
    assert [case.model_name for case in find_cases(folder)] == ["pp_mobileseg"]


@pytest.mark.parametrize("content", [(), ("model.pdmodel",), ("model.pdiparams", "readme")])
def test_nothing_usable_shows_what_is_there_and_what_should_be(tmp_path, content):
    (tmp_path / "m").mkdir()
    for name in content:
        (tmp_path / "m" / name).write_text("")
    with pytest.raises(DataError) as caught:
        find_cases(tmp_path)
    assert "├── model.pdmodel" in str(caught.value)
    assert all(name in str(caught.value) for name in ("m/{", *content))
    with pytest.raises(DataError, match="no such folder"):
        find_cases(tmp_path / "missing")


def test_bad_shapes_and_double_names(tmp_path):
    make_model(tmp_path / "m", deploy="Deploy:\n  input_shape: wide\n")
    with pytest.raises(DataError, match="input_shape is 'wide'"):
        find_cases(tmp_path)
    (tmp_path / "m" / "deploy.yaml").unlink()
    (tmp_path / "m.nb").write_bytes(b"x")
    with pytest.raises(DataError, match="two models are named m"):
        find_cases(tmp_path)


def test_input_from_text_and_npy(tmp_path):
    array = np.random.RandomState(0).randn(1, 3, 2, 4).astype("float32")
    write_tensor(array, tmp_path / "image1.txt")
    np.save(tmp_path / "a.npy", array[0])
    for name in ("image1.txt", "a.npy"):
        got = read_input(tmp_path / name, (1, 3, 2, 4))
        assert got.dtype == "float32" and np.array_equal(got.numpy(), array)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"1 2 3", "(?s)holds 3 numbers.*24"),
        (b"1 2 three", "three"),
        (b"\xff\xfe", "not a text of numbers"),
        (b"1 " * 23 + b"nan", "NaN"),
    ],
)
def test_input_that_cannot_be_right(tmp_path, content, message):
    path = tmp_path / "image1.txt"
    path.write_bytes(content)
    with pytest.raises(DataError, match=message):
        read_input(path, (1, 3, 2, 4))
    (tmp_path / "bad.npy").write_bytes(content)
    with pytest.raises(DataError, match=r"bad\.npy"):
        read_input(tmp_path / "bad.npy", (1, 3, 2, 4))


def test_image_becomes_normalised_rgb(tmp_path, run_cli):
    cv2 = pytest.importorskip("cv2")
    photo, recipe, out = tmp_path / "p.png", tmp_path / "deploy.yaml", tmp_path / "image1.txt"
    cv2.imwrite(str(photo), np.full((20, 30, 3), (0, 51, 255), np.uint8))  # BGR
    recipe.write_text(
        "Deploy:\n  input_shape: [1, 3, 16, 24]\n  transforms:\n  - {type: Resize, target_size: [9, 9]}\n"
        "  - type: Normalize\n    mean: [0.1, 0.2, 0.3]\n    std: [0.5, 0.5, 0.25]\n"
    )
    assert read_recipe(recipe).size == (16, 24)
    done = run_cli("gen_val_txt.py", "--image", photo, "--deploy_yaml", recipe, "--output", out)
    assert done.returncode == 0, done.stderr
    got = read_input(out, (1, 3, 16, 24)).numpy()
    assert np.allclose(got[0, :, 0, 0], [1.8, 0.0, -1.2], atol=1e-6) and np.ptp(got[0, 0]) == 0
    assert image_tensor(photo, Recipe([], (4, 6))).shape == (1, 3, 4, 6)


IMAGENET = {"type": "Normalize", "mean": [0.485, 0.456, 0.406], "std": [0.229, 0.224, 0.225]}


@pytest.mark.parametrize("size", [(256, 384), (97, 131), (203, 317), (64, 512)])
@pytest.mark.parametrize(
    "transforms",
    [
        [IMAGENET],
        [{"type": "Normalize"}],
        [{"type": "Resize", "target_size": [300, 200]}, IMAGENET],
        [{"type": "Resize", "target_size": [300, 200], "keep_ratio": True, "size_divisor": 32}, IMAGENET],
        [{"type": "ResizeByLong", "long_size": 333}, IMAGENET],
        [{"type": "ResizeByShort", "short_size": 150, "max_size": 201}, IMAGENET],
        [{"type": "LimitLong", "max_long": 190}, IMAGENET],
    ],
)
def test_the_input_is_the_tensor_of_every_other_runtime(tmp_path, size, transforms):
    """`image1.txt` holds what `ImagePipeline` prepares, bit for bit, at larger and at smaller sizes."""
    pytest.importorskip("paddleseg_ext_runtime")
    import cv2
    import yaml

    from paddleseg_ext_runtime.image_pipeline import ImagePipeline
    from paddleseg_ext_runtime.reading import read_image

    shape = [1, 3, *size]
    noise = np.random.RandomState(5).randint(0, 256, (61, 89, 3)).astype("uint8")
    cv2.imwrite(str(tmp_path / "p.png"), cv2.resize(noise, (227, 181)))
    (tmp_path / "deploy.yaml").write_text(yaml.safe_dump({"Deploy": {"input_shape": shape, "transforms": transforms}}))
    write_tensor(image_tensor(tmp_path / "p.png", read_recipe(tmp_path / "deploy.yaml")), tmp_path / "image1.txt")
    expected, _ = ImagePipeline(transforms, shape).prepare(read_image(tmp_path / "p.png"))
    assert np.array_equal(read_input(tmp_path / "image1.txt", tuple(shape)).numpy(), expected)


def test_images_and_recipes_that_cannot_be_used(tmp_path, run_cli):
    broken, recipe = tmp_path / "p.jpg", tmp_path / "deploy.yaml"
    broken.write_bytes(b"no image")
    size = ("--size", 8, 8, "--output", tmp_path / "image1.txt")
    for image, message in ((broken, "not a readable image"), (tmp_path / "none.png", "no such image")):
        done = run_cli("gen_val_txt.py", "--image", image, *size)
        assert done.returncode == 4 and message in done.stderr and "Traceback" not in done.stderr
    done = run_cli("gen_val_txt.py", "--image", broken)
    assert done.returncode == 2 and "--size" in done.stderr
    recipe.write_text("Deploy:\n  transforms:\n  - type: RandomDistort\n")
    with pytest.raises(DataError, match="RandomDistort"):
        read_recipe(recipe)
    assert not (tmp_path / "image1.txt").exists()
