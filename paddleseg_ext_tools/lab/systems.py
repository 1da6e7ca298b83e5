"""The one way from a config to a network with its weights, and from there to an exported folder.

Reading the config and checking what can be checked in it comes first; the model is built when it is first needed.
"""

from collections.abc import Sequence
from functools import cached_property
from pathlib import Path

import cv2
import numpy as np
import paddle
from paddle import nn

from paddleseg_ext.core.inference import InferenceOptions
from paddleseg_ext.cvlibs.config import Builder, Config
from paddleseg_ext.export.static_graph import ExportReport, export
from paddleseg_ext.models.layers.resize import resize
from paddleseg_ext.models.output_ops import resolve_output_op, scaled_size
from paddleseg_ext.weights import load_weights
from paddleseg_ext_runtime.image_pipeline import ImagePipeline
from paddleseg_ext_runtime.log import get_logger
from paddleseg_ext_runtime.reading import read_image
from paddleseg_ext_runtime.verify import normalisation
from paddleseg_ext_tools.lab.probe import SCENES, probe
from paddleseg_ext_tools.scenes import make_scene

PROBED = "made for timing"  # in place of a checkpoint's name


class Network:
    """A config and the model it describes, at first with random weights: the yaml's `pretrained` is not read.

    `opts` override the yaml, as `--opts` does. Raises ConfigError for a yaml that is wrong.
    """

    def __init__(self, path: str | Path, opts: Sequence[str] | None = None) -> None:
        self.config = Config(path, opts=list(opts or []))
        self.builder = Builder(self.config)

    @cached_property
    def model(self) -> nn.Layer:
        """Built on the device that is set when it is first asked for."""
        return self.builder.build_untrained_model()

    @cached_property
    def test_scale(self) -> float:
        """By which an exported graph resizes its input. Raises ConfigError where `test_config` has several scales."""
        return InferenceOptions.from_dict(self.config.test_config).single_scale()

    @property
    def transforms(self) -> list[dict] | None:
        """What the validation images go through."""
        return self.config.val_dataset_cfg.get("transforms")

    def output_op(self, asked: str | None) -> str:
        """The name of the output op: `asked`, or what the model's `upsample` stands for."""
        return resolve_output_op(asked, getattr(self.model, "upsample", "bilinear"))

    def load(self, weights: str | Path | None, *, otherwise: str, ignore: Sequence[str] = ()) -> None:
        """Loads a checkpoint strictly; without one a warning says what is done `otherwise`."""
        if weights:
            load_weights(self.model, weights, ignore)
        else:
            get_logger().warning("no --model_path: %s", otherwise)

    def make_weights(self, array: np.ndarray) -> None:
        """Gives the model weights for timing (`lab.probe`) on `array` [1, C, H, W], normalised, seen at test scale."""
        seen = paddle.to_tensor(array)
        if self.test_scale != 1.0:
            seen = resize(seen, scaled_size(array.shape[2:], self.test_scale))
        mean, std = normalisation(self.transforms or [], self.config.in_channels)
        probe(self.model, self.config.num_classes, seen, mean, std)

    def normalised(self, picture: np.ndarray) -> np.ndarray:
        """RGB uint8 [H, W, 3] -> float32 [1, 3, H, W]: the tensor that the network is given, at this size."""
        normalize = [entry for entry in self.transforms or [] if entry["type"] == "Normalize"]
        return ImagePipeline(normalize or [{"type": "Normalize"}]).prepare(picture[:, :, ::-1])[0]

    def export(self, output_op: str, shape: Sequence[int | None], folder: Path) -> ExportReport:
        """Writes the exported model into `folder`, made where it is missing.

        Raises ConversionError for transforms that no runtime could execute, and where the graph is not right.
        """
        ImagePipeline(self.transforms, shape)
        folder.mkdir(parents=True, exist_ok=True)
        names = {"transforms": self.transforms, "test_scale": self.test_scale, "class_names": self.config.class_names}
        return export(self.model, output_op, shape, folder, self.config.num_classes, **names)


def read_picture(path: str | Path | None, size: Sequence[int]) -> np.ndarray:
    """RGB uint8 [H, W, 3] at `size` (height, width): the picture at `path`, or a drawn scene of many classes.

    Raises DataError for a file that is no picture.
    """
    if path is None:
        return make_scene(SCENES[0], *size)[0]
    picture = cv2.resize(read_image(path), (size[1], size[0]), interpolation=cv2.INTER_LINEAR)
    return np.ascontiguousarray(picture[:, :, ::-1]).astype("uint8")
