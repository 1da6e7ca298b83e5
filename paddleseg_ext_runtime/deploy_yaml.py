"""`deploy.yaml`: what a consumer of an exported folder must know.

`deploy/lite`, which stands alone, has a reader of its own for the few keys it needs, and deploy/cpp one in C++.

PaddleSeg's keys keep their names and meaning; the others are additions.
"""

import re
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from paddleseg_ext_runtime.errors import ConversionError
from paddleseg_ext_runtime.exported import DEPLOY_FILE, MODEL_FILE, PARAMS_FILE
from paddleseg_ext_runtime.image_pipeline import ImagePipeline
from paddleseg_ext_runtime.label_map import palette


@dataclass(frozen=True)
class DeployConfig:
    """The description of one exported model.

    Lengths of unknown size are None. `transforms` are those of validation, verbatim; `output_kind` is
    'labels' (int32 [B, H, W]) or 'scores' (float32 [B, K, h, w]). The graph itself resizes its input by
    `test_scale`, and its result back: whoever runs it has nothing to do. `labels` are the classes in order, each
    with a `name` and its `color`, `#rrggbb`. Paddle Inference must be kept from `harmful_passes`.

    A deploy.yaml of PaddleSeg's says less: `output_kind`, `output_shape` and `labels` are then empty and
    `num_classes` is 0.
    """

    input_shape: list[int | None]
    output_op: str = "none"
    output_dtype: str = "float32"
    output_shape: list[int | None] = field(default_factory=list)
    output_kind: str = ""
    num_classes: int = 0
    test_scale: float = 1.0
    input_name: str = "x"
    color_order: str = "RGB"
    model: str = MODEL_FILE
    params: str = PARAMS_FILE
    transforms: list[dict[str, Any]] = field(default_factory=list)
    labels: list[dict[str, Any]] = field(default_factory=list)
    harmful_passes: list[str] = field(default_factory=list)
    versions: dict[str, str] = field(default_factory=dict)

    @property
    def channels(self) -> int:
        """Of the images: 3 or 1."""
        return self.input_shape[1] or 3

    def pipeline(self, max_elements: int | None = None) -> ImagePipeline:
        """What happens to an image before and behind the graph. Raises ConversionError as `ImagePipeline`."""
        limits = {} if max_elements is None else {"max_elements": max_elements}
        return ImagePipeline(self.transforms, self.input_shape, self.color_order, **limits)

    def colors(self) -> np.ndarray:
        """uint8 [256, 3] RGB: the labels' colours, and PaddleSeg's where there are none."""
        colors = palette()
        for number, label in enumerate(self.labels[:256]):
            if not re.fullmatch("#[0-9a-fA-F]{6}", label["color"]):
                raise ValueError(f"the color of label {number} is {label['color']!r}; needed is #rrggbb")
            colors[number] = list(bytes.fromhex(label["color"][1:]))
        return colors


def describe_labels(num_classes: int, names: Sequence[str] | None = None) -> list[dict[str, Any]]:
    """`DeployConfig.labels` in PaddleSeg's colours; `class 7` for a class whose name is not known."""
    if names is None or len(names) != num_classes:
        names = [f"class {number}" for number in range(num_classes)]
    colors = [f"#{bytes(color).hex()}" for color in palette()[np.arange(num_classes) % 256]]
    return [{"name": name, "color": color} for name, color in zip(names, colors, strict=True)]


def exported_folder(path: str | Path) -> Path:
    """The folder of an export that is named by itself or by its deploy.yaml."""
    path = Path(path)
    return path.parent if path.suffix in (".yaml", ".yml") else path


def write_deploy_yaml(config: DeployConfig, folder: str | Path) -> None:
    """Writes `deploy.yaml` into an exported folder."""
    # Lists of plain values, such as a shape or a class, take a line each.
    settings = {"sort_keys": False, "allow_unicode": True, "default_flow_style": None, "width": float("inf")}
    text = yaml.safe_dump({"Deploy": asdict(config)}, **settings)
    (Path(folder) / DEPLOY_FILE).write_text(text, encoding="utf-8")


def read_deploy_yaml(path: str | Path) -> DeployConfig:
    """Reads it, from an exported folder or by its own path; PaddleSeg's too.

    Raises ConversionError when it is missing, or is not what an exporter writes.
    """
    folder = exported_folder(path)
    path = Path(path) if folder != Path(path) else folder / DEPLOY_FILE
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))["Deploy"]
        known = {one.name for one in fields(DeployConfig)}
        values = {key: value for key, value in content.items() if key in known and value is not None}
        shape = values.get("input_shape", [None, 3, None, None])
        values["input_shape"] = [None if length == -1 else length for length in shape]
        config = DeployConfig(**values)
        config.colors()
    except (FileNotFoundError, NotADirectoryError) as error:
        raise ConversionError(f"{path.parent} is not an exported model: {path.name} is missing") from error
    except (yaml.YAMLError, OSError, LookupError, TypeError, ValueError, AttributeError, RecursionError) as error:
        raise ConversionError(f"{path} is not a deploy.yaml as tools/export.py writes it: {error}") from error
    _check(path, config)
    return config


def _check(path: Path, config: DeployConfig) -> None:
    shape = config.input_shape
    is_shape = len(shape) == 4 and all(length is None or (type(length) is int and length > 0) for length in shape)
    if not is_shape or config.channels not in (1, 3):
        raise ConversionError(f"{path}: input_shape is {shape}; needed is N C H W, with 1 or 3 channels")
    if not isinstance(config.transforms, list) or not isinstance(config.labels, list):
        raise ConversionError(f"{path}: transforms and labels must be lists")
    for key, value, allowed in (
        ("color_order", config.color_order, ("RGB", "BGR")),
        ("output_kind", config.output_kind, ("", "labels", "scores")),
    ):
        if value not in allowed:
            raise ConversionError(f"{path}: {key} is {value!r}; it must be one of {', '.join(filter(None, allowed))}")
