"""deploy/python: the scripts give predict.py's masks, in batches, from videos, and say what is wrong."""

import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import paddle
import pytest
from deploy_cpp.conftest import KEEP_RATIO, NORMALIZE, Levels
from PIL import Image

from paddleseg_ext.core.inference import InferenceOptions, predict_scores
from paddleseg_ext.export.onnx import export_onnx
from paddleseg_ext.export.static_graph import export, with_output_op
from paddleseg_ext_runtime.deploy_yaml import DeployConfig
from paddleseg_ext_runtime.errors import ConversionError
from paddleseg_ext_runtime.image_pipeline import ImagePipeline
from paddleseg_ext_runtime.label_map import palette
from paddleseg_ext_runtime.pictures import list_pictures
from paddleseg_ext_runtime.prediction import PSEUDO_COLOR, Results, predict_pictures
from paddleseg_ext_runtime.segmenter import Segmenter, check_batch
from paddleseg_ext_tools.scenes import make_scene

ROOT = Path(__file__).parents[2]
SCRIPTS = ("infer.py", "infer_onnx.py")
USAGE, DATA, MODEL = 2, 4, 6


def run(script, *arguments, code=0):
    command = [sys.executable, str(ROOT / "deploy" / "python" / script), *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=200)
    assert done.returncode == code, f"exit code {done.returncode}\n{done.stdout}\n{done.stderr}"
    assert "Traceback" not in done.stderr
    return done


@pytest.fixture(scope="module")
def network():
    model = Levels()
    model.eval()
    return model


@pytest.fixture(scope="module")
def exported(network, tmp_path_factory):
    """By op: scores for any size and number, resized before; labels of one size."""
    root = tmp_path_factory.mktemp("exported")
    cases = {"none": ([None, 3, None, None], [KEEP_RATIO, NORMALIZE]), "vim_exact": ([1, 3, 96, 160], [NORMALIZE])}
    for op, (shape, transforms) in cases.items():
        (root / op).mkdir()
        report = export(network, op, shape, root / op, 32, transforms)
        export_onnx(root / op, checked=report.checked)
    return root


@pytest.fixture(scope="module")
def photographs(tmp_path_factory):
    """Odd sizes, two of them alike, one below another folder and one turned by its EXIF data."""
    folder = tmp_path_factory.mktemp("photographs")
    (folder / "deep").mkdir()
    for seed, (height, width, name) in enumerate(
        [(97, 131, "a.jpg"), (97, 131, "b.png"), (151, 203, "deep/c.png"), (119, 75, "d.jpg")]
    ):
        exif = Image.Exif()
        if name == "d.jpg":
            exif[0x0112] = 6
        Image.fromarray(make_scene(seed, height, width)[0]).save(folder / name, exif=exif)
    return folder


def masks(folder):
    found = {}
    for path in sorted(folder.rglob("*.png")):
        with Image.open(path) as file:
            found[str(path.relative_to(folder))] = np.asarray(file)
    return found


@pytest.mark.parametrize("script", SCRIPTS)
def test_scores_give_the_masks_of_predict(script, exported, network, photographs, tmp_path):
    done = run(
        script, "--config", exported / "none", "--image_path", photographs, "--save_dir", tmp_path / "out",
        "--batch_size", 3, "--benchmark", "--warmup", 1, "--repeats", 2,
    )  # fmt: skip
    own = Segmenter(lambda x: predict_scores(network, x, InferenceOptions()), ImagePipeline([KEEP_RATIO, NORMALIZE]))
    predict_pictures(own, list_pictures(photographs), Results(tmp_path / "predicted", palette(), has_overlays=True))
    actual, wanted = masks(tmp_path / "out"), masks(tmp_path / "predicted" / PSEUDO_COLOR)
    assert actual.keys() == wanted.keys() == {"a.png", "b.png", "deep/c.png", "d.png"}
    for name, mask in actual.items():
        assert mask.shape == wanted[name].shape and (mask == wanted[name]).mean() >= 0.999
        assert len(np.unique(mask)) > 4
    # The first three come to one size and share a batch; every batch is run twice.
    runs = {line.split()[0]: int(line.split()[-1]) for line in done.stdout.splitlines() if "processing" in line}
    assert runs == {"preprocessing": 4, "postprocessing": 4}
    assert int(done.stdout.split("inference  ")[1].splitlines()[0].split()[-1]) == 4
    assert ("onnxruntime 1." if "onnx" in script else "paddle_inference 2.6") in done.stdout


@pytest.mark.parametrize("script", SCRIPTS)
def test_labels_are_those_of_predicting_as_the_export(script, exported, network, photographs, tmp_path):
    run(script, "--config", exported / "vim_exact" / "deploy.yaml", "--image_path", photographs, "--save_dir", tmp_path)
    pipeline = ImagePipeline([NORMALIZE], [1, 3, 96, 160])
    for name, mask in masks(tmp_path).items():
        (source,) = (item for item in photographs.rglob("*.*") if item.stem == Path(name).stem)
        x, steps = pipeline.prepare(cv2.imread(str(source)))
        with paddle.no_grad():
            labels = with_output_op(network, "vim_exact", x)(paddle.to_tensor(x)).numpy()[0]
        assert (mask == pipeline.restore(labels, x.shape[2:], steps)).mean() >= 0.999


def test_without_onednn_too(exported, photographs, tmp_path):
    common = ("--config", exported / "none", "--image_path", photographs / "a.jpg")
    run("infer.py", *common, "--save_dir", tmp_path / "on")
    done = run("infer.py", *common, "--save_dir", tmp_path / "off", "--enable_mkldnn", "False")
    assert "paddle_inference_native" in done.stdout
    assert (masks(tmp_path / "on")["a.png"] == masks(tmp_path / "off")["a.png"]).mean() >= 0.999


def test_a_video(exported, tmp_path):
    frames = [make_scene(seed, 96, 128)[0][:, :, ::-1] for seed in range(5)]
    writer = cv2.VideoWriter(str(tmp_path / "drive.avi"), cv2.VideoWriter_fourcc(*"MJPG"), 10, (128, 96))
    for frame in frames:
        writer.write(frame)
    writer.release()
    out = tmp_path / "out"
    red = [number for _ in range(32) for number in (255, 0, 0)]
    done = run(
        "infer_onnx.py", "--config", exported / "none", "--image_path", tmp_path / "drive.avi", "--save_dir", out,
        "--custom_color", *red,
    )  # fmt: skip
    assert "5 frames" in done.stdout and [path.name for path in out.iterdir()] == ["drive.mp4"]
    video = cv2.VideoCapture(str(out / "drive.mp4"))
    assert video.get(cv2.CAP_PROP_FPS) == 10
    read = [video.read()[1] for _ in frames]
    assert all(frame.shape == (96, 128, 3) for frame in read) and not video.read()[0]
    wanted = 0.6 * frames[2].mean((0, 1)) + 0.4 * np.array([0, 0, 255])
    assert np.abs(read[2].mean((0, 1)) - wanted).max() < 12


def test_a_video_that_is_cut_off(exported, tmp_path):
    (tmp_path / "cut.mp4").write_bytes(b"\0\0\0\x18ftypmp42" + bytes(400))
    done = run(
        "infer.py", "--config", exported / "none", "--image_path", tmp_path / "cut.mp4", "--save_dir", tmp_path / "out",
        code=DATA,
    )  # fmt: skip
    assert "is no video OpenCV can read" in done.stderr and not list((tmp_path / "out").iterdir())


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (["--image_path", "{photographs}", "--config", "nowhere"], MODEL, "deploy.yaml is missing"),
        (["--image_path", "nowhere", "--config", "{none}"], DATA, "no image, folder or list at nowhere"),
        (["--image_path", "{photographs}", "--config", "{none}", "--batch_size", "0"], USAGE, "no whole number from 1"),
        (
            ["--image_path", "{photographs}", "--config", "{vim_exact}", "--batch_size", "2"],
            MODEL,
            "batches of 1, --batch_size is 2",
        ),
        (["--image_path", "{photographs}", "--config", "{none}", "--enable_mkldnn", "yes"], USAGE, "neither True nor"),
        (["--image_path", "{photographs}", "--config", "{none}", "--custom_color", "1"], USAGE, "R G B triples"),
    ],
)
def test_bad_input(arguments, code, said, exported, photographs, tmp_path):
    places = {"photographs": photographs, "none": exported / "none", "vim_exact": exported / "vim_exact"}
    arguments = [text.format(**places) for text in arguments]
    assert said in run("infer.py", *arguments, "--save_dir", tmp_path / "out", code=code).stderr
    assert not (tmp_path / "out").exists()


def test_a_batch_that_would_mix_masks_is_refused():
    open_batch = DeployConfig([None, 3, 64, 64], output_op="vim")
    check_batch(open_batch, 1)
    check_batch(replace(open_batch, output_op="vim_exact"), 4)
    with pytest.raises(ConversionError, match="keeps the classes of all images of a batch"):
        check_batch(open_batch, 2)


def test_sources_are_kept(exported, photographs, tmp_path):
    folder = tmp_path / "photographs"
    shutil.copytree(photographs, folder)
    before = {path: path.read_bytes() for path in folder.rglob("*.png")}
    done = run("infer.py", "--config", exported / "none", "--image_path", folder, "--save_dir", folder, code=USAGE)
    assert "would take its place; choose another --save_dir" in done.stderr
    assert {path: path.read_bytes() for path in folder.rglob("*.png")} == before


def test_flags_of_paddleseg(exported, photographs, tmp_path):
    common = ("--config", exported / "none", "--image_path", photographs / "a.jpg", "--save_dir", tmp_path)
    run("infer.py", *common, "--precision", "fp32", "--with_argmax", "True", "--model_name", "x", "--use_trt", "False")
    done = run("infer.py", *common, "--use_trt", "True", code=USAGE)
    assert "infer_onnx_trt.py takes it from ONNX Runtime" in done.stderr


def test_names_and_kind_of_deploy_yaml(exported, photographs, tmp_path):
    model = tmp_path / "model"
    shutil.copytree(exported / "none", model)
    for ending in ("pdmodel", "pdiparams"):
        (model / f"model.{ending}").rename(model / f"inference.{ending}")
    text = (model / "deploy.yaml").read_text().replace("model: model.", "model: inference.")
    (model / "deploy.yaml").write_text(text.replace("params: model.", "params: inference."))
    common = ("--config", model, "--image_path", photographs / "a.jpg", "--save_dir", tmp_path / "out")
    run("infer.py", *common)
    (model / "deploy.yaml").write_text(text.replace("output_kind: scores", "output_kind: labels"))
    done = run("infer_onnx.py", *common, code=MODEL)
    assert "the graph gives scores, deploy.yaml says labels" in done.stderr


def test_a_missing_graph(exported, photographs, tmp_path):
    (tmp_path / "deploy.yaml").write_bytes((exported / "none" / "deploy.yaml").read_bytes())
    for script, name in (("infer.py", "model.pdmodel"), ("infer_onnx.py", "model.onnx")):
        done = run(script, "--config", tmp_path, "--image_path", photographs, "--save_dir", tmp_path / "o", code=MODEL)
        assert f"{name} is missing; tools/export.py" in done.stderr
