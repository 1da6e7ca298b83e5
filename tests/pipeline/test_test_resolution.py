"""`test_config: {aug_eval: True, scales: s}` holds for val, predict and export alike; PP-LiteSeg's configs need it."""

import json
import re
from pathlib import Path

import numpy as np
import paddle
import pytest
from models.zoo import filled
from paddleseg.transforms import Compose, Normalize
from PIL import Image

from paddleseg_ext.core.inference import InferenceOptions, predict_labels
from paddleseg_ext.core.metrics import Metrics, confusion_matrix
from paddleseg_ext.cvlibs.config import Config
from paddleseg_ext.models.layers.resize import resize
from paddleseg_ext.models.output_ops import ExactValidInterpolate, ExportModel
from paddleseg_ext_runtime.deploy_yaml import read_deploy_yaml
from paddleseg_ext_runtime.errors import ConfigError
from paddleseg_ext_runtime.reading import read_image
from paddleseg_ext_runtime.runtimes import outputs_for
from paddleseg_ext_tools.commands import export, predict, val
from paddleseg_ext_tools.scenes import write_dataset

CONFIGS = Path(__file__).parents[2] / "configs" / "pp_liteseg"
SIZE = (75, 150)  # odd: half of it is rounded
SCALES = (0.5, 0.75, 1.0)


def config(scale):
    return str(CONFIGS / f"pp_liteseg_stdc1_cityscapes_1024x512_scale{scale}_160k.yml")


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    root = tmp_path_factory.mktemp("resolution") / "cityscapes"
    write_dataset(root, train=1, val=3, size=SIZE, layout="cityscapes")
    return root


@pytest.fixture(scope="module")
def model():
    return filled("pp_liteseg_stdc1")


@pytest.fixture(scope="module")
def weights(model, tmp_path_factory):
    path = tmp_path_factory.mktemp("weights") / "model.pdparams"
    paddle.save(model.state_dict(), str(path))
    return str(path)


@pytest.fixture(scope="module")
def samples(data):
    """The validation images, normalised, and their labels."""
    images = sorted((data / "leftImg8bit" / "val").rglob("*.png"))
    labels = sorted((data / "gtFine" / "val").rglob("*.png"))
    compose = Compose([Normalize()])
    read = [compose({"img": read_image(path), "trans_info": [], "gt_fields": []}) for path in images]
    return images, read, [np.asarray(Image.open(path)) for path in labels]


@pytest.fixture(scope="module")
def expected(model, samples):
    """The labels of every image at every scale, by PaddleSeg's steps written out."""

    def labels(sample, scale):
        x = paddle.to_tensor(sample["img"])[None]
        seen = resize(x, [int(side * scale + 0.5) for side in SIZE])
        logits = resize(model(seen)[0], SIZE)
        return logits.argmax(axis=1)[0].numpy()

    model.eval()
    with paddle.no_grad():
        found = {scale: [labels(sample, scale) for sample in samples[1]] for scale in SCALES}
    assert all((found[0.5][0] != found[scale][0]).mean() > 0.02 for scale in (0.75, 1.0))  # or nothing here is tested
    return found


@pytest.mark.parametrize("scale", SCALES)
def test_val(scale, data, weights, samples, expected, tmp_path):
    report = tmp_path / "val.json"
    code = val.main(
        ["--config", config(scale), "--model_path", weights, "--save_json", str(report), "--device", "cpu",
         "--opts", f"train_dataset.dataset_root={data}", f"val_dataset.dataset_root={data}"]
    )  # fmt: skip
    confusion = sum(
        confusion_matrix(labels, truth, 19, 255) for labels, truth in zip(expected[scale], samples[2], strict=True)
    )
    assert code == 0 and json.loads(report.read_text())["miou"] == pytest.approx(Metrics(confusion).miou, abs=1e-4)


@pytest.mark.parametrize("scale", SCALES)
def test_predict(scale, data, weights, samples, expected, tmp_path):
    code = predict.main(
        ["--config", config(scale), "--model_path", weights, "--image_path", str(samples[0][0].parent), "--device",
         "cpu", "--save_dir", str(tmp_path)]
    )  # fmt: skip
    assert code == 0
    for path, labels in zip(samples[0], expected[scale], strict=True):
        with Image.open(tmp_path / "pseudo_color_prediction" / path.name) as file:
            assert (np.asarray(file) == labels).mean() > 0.9999


def test_a_flag_overrides_the_config(weights, samples, expected, tmp_path):
    predict.main(
        ["--config", config(0.5), "--model_path", weights, "--image_path", str(samples[0][0]), "--device", "cpu",
         "--save_dir", str(tmp_path), "--aug_pred", "--scales", "0.75"]
    )  # fmt: skip
    with Image.open(tmp_path / "pseudo_color_prediction" / samples[0][0].name) as file:
        assert (np.asarray(file) == expected[0.75][0]).mean() > 0.9999


@pytest.mark.parametrize("scale", [0.5, *(pytest.param(scale, marks=pytest.mark.matrix) for scale in SCALES[1:])])
def test_export_takes_the_image_at_its_own_size(scale, weights, samples, expected, tmp_path):
    code = export.main(
        ["--config", config(scale), "--model_path", weights, "--save_dir", str(tmp_path), "--input_shape", "1", "3",
         *map(str, SIZE)]
    )  # fmt: skip
    assert code == 0
    described = read_deploy_yaml(tmp_path)
    assert described.test_scale == scale and described.input_shape == [1, 3, *SIZE]
    assert described.output_shape == [1, *SIZE]
    arrays = [sample["img"][np.newaxis] for sample in samples[1][:2]]
    for labels, wanted in zip(outputs_for("paddle_inference", tmp_path, arrays), expected[scale], strict=False):
        assert (labels[0] == wanted).mean() >= 0.9999


@pytest.mark.matrix
@pytest.mark.parametrize("op", ["argmax", "vim_exact", "softmax", "none", "vim", "decoder"])
def test_a_graph_for_all_sizes(op, weights, samples, expected, tmp_path):
    code = export.main(
        ["--config", config(0.75), "--model_path", weights, "--save_dir", str(tmp_path), "--output_op", op]
    )
    assert code == 0
    (result,) = outputs_for("paddle_inference", tmp_path, [samples[1][0]["img"][np.newaxis]])
    if op == "decoder":
        assert result.shape[1:] == (19, -(-int(SIZE[0] * 0.75 + 0.5) // 8), -(-int(SIZE[1] * 0.75 + 0.5) // 8))
        return
    labels = result[0] if op.startswith(("argmax", "vim")) else result[0].argmax(axis=0)
    assert (labels == expected[0.75][0]).mean() >= (0.99 if op == "vim" else 0.9999)


@pytest.mark.parametrize("scale", [0.5, 0.75])
def test_exact_vim_stays_exact_after_two_interpolations(scale, model, samples, expected):
    wrapped = ExportModel(model, ExactValidInterpolate(), scale)
    with paddle.no_grad():
        labels = wrapped(paddle.to_tensor(samples[1][0]["img"])[None])[0].numpy()
    assert (labels == expected[scale][0]).mean() > 0.9999


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"aug_eval": True, "scales": [0.5, 1.0]}, r"scales \[0.5, 1.0\]"),
        ({"aug_eval": True, "scales": 0.5, "flip_horizontal": True}, "flip_horizontal"),
        ({"is_slide": True, "crop_size": [64, 64], "stride": [32, 32]}, "is_slide"),
    ],
)
def test_what_takes_several_passes_is_not_exported(settings, said):
    with pytest.raises(ConfigError, match=rf"tests with {said}; an exported graph makes one pass"):
        InferenceOptions.from_dict(settings).single_scale()


def test_no_test_config_is_the_bare_network():
    for opts in (["test_config=null"], ["test_config.aug_eval=False"], ["test_config.scales=1.0"]):
        settings = Config(config(0.5), opts=opts).test_config
        assert InferenceOptions.from_dict(settings).single_scale() == 1.0


def test_export_refuses_them_before_anything_is_built(tmp_path, capsys):
    command = ["--config", config(0.5), "--save_dir", str(tmp_path / "out"), "--opts"]
    assert export.main([*command, "test_config.scales=[0.75,1.0]"]) == 2
    error = capsys.readouterr().err
    assert "an exported graph makes one pass" in error and not (tmp_path / "out").exists()
    suggested = re.findall(r"test_config\.\w+=\w+", error)[:2]
    options = {key: value == "True" for key, value in (item.split(".")[1].split("=") for item in suggested)}
    assert InferenceOptions.from_dict({"aug_eval": True, "scales": [0.75, 1.0], **options}).single_scale() == 1.0


@pytest.mark.parametrize(
    ("settings", "scale"),
    [({}, 1.0), ({"scales": [0.5, 0.75]}, 1.0), ({"aug_eval": True}, 1.0), ({"aug_eval": True, "scales": 0.5}, 0.5)],
)
def test_scales_count_with_aug_eval_alone(settings, scale, model, samples):
    options = InferenceOptions.from_dict(settings)
    assert options.single_scale() == scale
    wanted = InferenceOptions(aug_eval=True, scales=(scale,))
    assert (predict_labels(model, samples[1][0], options) == predict_labels(model, samples[1][0], wanted)).all()
