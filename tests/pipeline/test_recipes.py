"""The recipes of CONTRIBUTING.md, followed in a copy of the tree: the files they name are all that is needed."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parents[2]
CONFIG = "configs/pp_mobileseg/pp_mobileseg_tiny_scenes_demo.yml"
PARTS = ("paddleseg_ext", "paddleseg_ext_runtime", "paddleseg_ext_tools", "tools", "configs", "deploy/lite")

MODEL = """
from paddle import Tensor, nn

from paddleseg_ext.models.base import SegmentationModel, feature_channels
from paddleseg_ext.registry import MODELS, register


@register(MODELS)
class ToyNet(SegmentationModel):
    def __init__(self, num_classes: int, backbone: nn.Layer):
        super().__init__(num_classes)
        self.backbone = backbone
        self.head = nn.Conv2D(feature_channels(backbone, [3])[0], num_classes, 1)

    def logits(self, x: Tensor) -> Tensor:
        return self.head(self.backbone(x)[3])
"""
LOSS = """
from paddle import Tensor, nn
from paddle.nn import functional as F

from paddleseg_ext.registry import LOSSES, register


@register(LOSSES)
class ToyLoss(nn.Layer):
    def __init__(self, ignore_index: int = 255, weight: float = 1.0):
        super().__init__()
        self.ignore_index, self.weight = ignore_index, weight

    def forward(self, logits: Tensor, labels: Tensor) -> Tensor:
        return self.weight * F.cross_entropy(logits, labels, ignore_index=self.ignore_index, axis=1)
"""
TRANSFORM = """
from paddleseg_ext.registry import TRANSFORMS, register


@register(TRANSFORMS)
class ToyFlip:
    def __init__(self, used_file: str):
        self.used_file = used_file

    def __call__(self, data: dict) -> dict:
        open(self.used_file, "w").close()
        data["img"] = data["img"][:, ::-1].copy()
        for field in data["gt_fields"]:
            data[field] = data[field][:, ::-1].copy()
        return data
"""
OUTPUT_OP = """
class ToyScores(OutputOp):
    name, dtype, is_labels = "toy", "float32", False

    def forward(self, logits: Tensor, size: Sequence[int]) -> Tensor:
        return F.sigmoid(resize(logits, size, self.align_corners))


"""
RUNTIME = """
class ToyRuntime(OnnxRuntime):
    engine = "toy"

    def load(self) -> None:
        super().load()
        self.version = "toy 1"


"""


def append(path, text):
    path.write_text(path.read_text() + text)


def insert(path, before, text):
    content = path.read_text()
    assert content.count(before) == 1
    path.write_text(content.replace(before, text + before))


@pytest.fixture(scope="module")
def tree(tmp_path_factory):
    root = tmp_path_factory.mktemp("recipes")
    for part in PARTS:
        shutil.copytree(ROOT / part, root / part, ignore=shutil.ignore_patterns("__pycache__"))
    library = root / "paddleseg_ext"
    (library / "models" / "toy.py").write_text(MODEL)
    append(library / "models" / "__init__.py", "from paddleseg_ext.models.toy import ToyNet\n")
    (library / "models" / "losses" / "toy_loss.py").write_text(LOSS)
    append(library / "models" / "losses" / "__init__.py", "from paddleseg_ext.models.losses.toy_loss import ToyLoss\n")
    (library / "datasets" / "transforms" / "toy_flip.py").write_text(TRANSFORM)
    line = "from paddleseg_ext.datasets.transforms.toy_flip import ToyFlip\n"
    append(library / "datasets" / "transforms" / "__init__.py", line)
    insert(library / "models" / "output_ops.py", "OUTPUT_OPS: dict", OUTPUT_OP.lstrip())
    insert(library / "models" / "output_ops.py", "Decoder)\n}", "ToyScores, ")
    insert(root / "paddleseg_ext_runtime" / "output_ops.py", '    "decoder":', '    "toy": "sigmoid scores",\n')
    insert(root / "paddleseg_ext_runtime" / "run_model.py", "KINDS = {", RUNTIME.lstrip())
    insert(root / "paddleseg_ext_runtime" / "run_model.py", '    "mnn": Mnn', '    "toy": ToyRuntime,\n')
    form = '    OnnxForm("toy", "Toy", runtime="toy"),\n'
    insert(root / "paddleseg_ext_tools" / "lab" / "forms.py", '    MnnForm("mnn", "MNN"),', form)
    return root


def run(tree, *command, codes=(0,)):
    done = subprocess.run(
        [sys.executable, *map(str, command)], cwd=tree, capture_output=True, text=True, timeout=280,
        env={**os.environ, "PYTHONPATH": f"{tree}:{tree}/deploy/lite"},
    )  # fmt: skip
    assert done.returncode in codes, f"{done.stdout}\n{done.stderr}"


def test_a_toy_model_loss_transform_and_output_op_work(tree, scenes, tmp_path):
    settings = yaml.safe_load((tree / CONFIG).read_text())
    settings["model"] = {"type": "ToyNet", "num_classes": 150, "backbone": {"type": "MobileNetV3_small_x0_35"}}
    settings["loss"] = {"types": [{"type": "ToyLoss", "weight": 0.5}], "coef": [1]}
    for part in ("train_dataset", "val_dataset"):
        settings[part]["dataset_root"] = str(scenes)
    settings["train_dataset"]["transforms"].insert(1, {"type": "ToyFlip", "used_file": str(tmp_path / "used")})
    config = tmp_path / "toy.yml"
    config.write_text(yaml.safe_dump(settings))
    run(tree, "tools/train.py", "--config", config, "--save_dir", tmp_path / "train", "--iters", 2, "--batch_size", 2,
        "--save_interval", 2)  # fmt: skip
    assert (tmp_path / "used").is_file()
    weights = tmp_path / "train" / "iter_2" / "model.pdparams"
    run(tree, "tools/export.py", "--config", config, "--model_path", weights, "--save_dir", tmp_path / "model",
        "--input_shape", 1, 3, 64, 96, "--output_op", "toy")  # fmt: skip
    deploy = yaml.safe_load((tmp_path / "model" / "deploy.yaml").read_text())
    assert "toy" in str(deploy)


def test_a_toy_runtime_is_measured_and_compared(tree, tmp_path):
    """Exit code 7 says that a latency is not valid, as on a busy machine."""
    size = ("--input_shape", 1, 3, 64, 96)
    counts = ("--images", 0, "--warmup", 0, "--repeats", 2, "--rounds", 1)
    run(tree, "tools/benchmark_export.py", "--config", CONFIG, "--formats", "toy", *size, *counts,
        "--save_dir", tmp_path, codes=(0, 7))  # fmt: skip
    row = json.loads((tmp_path / "benchmark_export.json").read_text())["rows"][1]
    assert row["key"] == "toy" and row["error"] is None and row["equal"] >= 0.999
    assert row["timing"]["runtime_version"] == "toy 1" and len(row["timing"]["series_ms"]) == 2
