"""ONNX from the command line: export_onnx, opsets, Triton's repository, infer_onnx_trt, and what is refused."""

import re

import cv2
import numpy as np
import onnx
import pytest
from PIL import Image
from pipeline.test_chain import CONFIG, run

from paddleseg_ext_tools.scenes import make_scene

LITESEG = "configs/pp_liteseg/pp_liteseg_stdc1_cityscapes_1024x512_scale0.5_160k.yml"
USAGE, MODEL = 2, 6


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
    """The demo's network with the weights of one iteration, as ONNX of any size; the weights lie beside it."""
    import paddle

    from paddleseg_ext.cvlibs.config import Builder, Config

    root = tmp_path_factory.mktemp("onnx")
    paddle.seed(3)
    paddle.save(Builder(Config(CONFIG)).build("model").state_dict(), str(root / "model.pdparams"))
    done = run(
        "tools/export_onnx.py", "--config", CONFIG, "--model_path", root / "model.pdparams", "--save_dir", root / "net",
        "--input_shape", 1, 3, 64, 96, "--output_op", "vim", "--opset", 15,
        "--triton_repository", root / "repository",
    )  # fmt: skip
    assert "opset 15. Checked under ONNX Runtime" in done.stdout
    return root


def test_export_onnx(exported):
    model = onnx.load(str(exported / "net" / "model.onnx"))
    assert model.opset_import[0].version == 15
    assert [dim.dim_value for dim in model.graph.input[0].type.tensor_type.shape.dim] == [1, 3, 64, 96]


def test_triton_repository(exported):
    folder = exported / "repository" / "net"
    assert sorted(path.name for path in (folder / "1").iterdir()) == ["deploy.yaml", "model.onnx"]
    graph = onnx.load(str(folder / "1" / "model.onnx")).graph
    text = (folder / "config.pbtxt").read_text()
    assert 'name: "net"\nplatform: "onnxruntime_onnx"\nmax_batch_size: 0\n' in text
    wanted = [(graph.input[0].name, "FP32", "1, 3, 64, 96"), (graph.output[0].name, "INT32", "1, 64, 96")]
    assert re.findall(r'name: "(\w+)" data_type: TYPE_(\w+) dims: \[ ([\d, -]+) \]', text) == wanted


def test_predict_as_the_export_gives_the_mask_of_the_export(exported, tmp_path):
    """The photograph is resized to the graph's input, and its labels back."""
    cv2.imwrite(str(tmp_path / "photo.png"), make_scene(5, 131, 87)[0])
    run("deploy/python/infer.py", "--config", exported / "net", "--image_path", tmp_path / "photo.png",
        "--save_dir", tmp_path / "infer")  # fmt: skip
    run("tools/predict.py", "--config", CONFIG, "--model_path", exported / "model.pdparams",
        "--image_path", tmp_path / "photo.png", "--save_dir", tmp_path / "predict",
        "--output_op", "vim", "--input_shape", 1, 3, 64, 96)  # fmt: skip
    with (
        Image.open(tmp_path / "infer" / "photo.png") as ours,
        Image.open(tmp_path / "predict" / "pseudo_color_prediction" / "photo.png") as theirs,
    ):
        assert ours.size == theirs.size == (87, 131)
        assert (np.asarray(ours) == np.asarray(theirs)).mean() >= 0.999


def test_infer_onnx_trt(tmp_path):
    done = run("deploy/python/infer_onnx_trt.py", "--config", LITESEG, "--width", 128, "--height", 64,
               "--save_dir", tmp_path, "--warmup", 1, "--repeats", 3)  # fmt: skip
    assert (tmp_path / "model.onnx").is_file()
    assert "neither TensorRT nor CUDA in this ONNX Runtime: measured on the CPU" in done.stdout
    assert "of the labels are equal" in done.stdout
    assert re.search(r"on cpu, 128x64 \(width x height\), 1 threads: median \d+\.\d+ ms, .*3 runs", done.stdout)


@pytest.mark.parametrize(
    ("tool", "arguments", "code", "said"),
    [
        ("export.py", ["--output_op", "argmax", "--opts", "model.upsample=vim"], USAGE, "the graph ends in labels"),
        ("export.py", ["--output_op", "softmax", "--opts", "model.upsample=vim"], USAGE, "the graph ends in labels"),
        ("export.py", ["--input_shape", 1, 4, 64, 64], USAGE, "the network takes 3"),
        ("export.py", ["--opset", 13], USAGE, "add --onnx"),
        ("export_onnx.py", ["--opset", 11, "--input_shape", 1, 3, 64, 64], MODEL, "hard_swish needs opset 14 or newer"),
        (
            "export.py",
            ["--opts", 'val_dataset.transforms=[{"type": "RandomHorizontalFlip"}]'],
            MODEL,
            "'RandomHorizontalFlip' cannot be executed outside of training",
        ),
    ],
)
def test_refused(tool, arguments, code, said, tmp_path):
    done = run(f"tools/{tool}", "--config", CONFIG, "--save_dir", tmp_path, *arguments, code=code)
    assert said in done.stderr
    assert not (tmp_path / "model.onnx").exists()


def test_an_open_size_where_the_runtime_cannot(tmp_path):
    """Paddle-Lite interpolates no position embeddings; the refusal names the operator."""
    run("tools/export.py", "--config", CONFIG, "--save_dir", tmp_path / "models" / "open")
    image = tmp_path / "photo.png"
    cv2.imwrite(str(image), make_scene(5, 64, 96)[0])
    deploy_yaml = tmp_path / "models" / "open" / "deploy.yaml"
    run("deploy/lite/gen_val_txt.py", "--image", image, "--size", 64, 96, "--output", tmp_path / "image1.txt")
    assert "null" in deploy_yaml.read_text().split("output_op")[0]
    done = run(
        "deploy/lite/benchmark.py", "--device", "host", "--models_dir", tmp_path / "models", "--input",
        tmp_path / "image1.txt", "--input_shape", 1, 3, 64, 96, "--result_file", tmp_path / "result.txt",
        "--json_dir", tmp_path / "json", code=MODEL,
    )  # fmt: skip
    assert "linear_interp_v2" in done.stdout + done.stderr
