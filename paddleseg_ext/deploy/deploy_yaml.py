"""`deploy.yaml`: what a consumer of an exported folder must know.

`deploy/lite`, which stands alone, has a reader of its own for the few keys it needs.

PaddleSeg's keys keep their names and meaning; the others are additions.
"""

from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import yaml

from paddleseg_ext.errors import ConversionError

DEPLOY_FILE = "deploy.yaml"


@dataclass(frozen=True)
class DeployConfig:
    """The description of one exported model.

    Sizes of unknown length are None. `transforms` are those of validation, verbatim; `output_kind` is
    'labels' (int32 [B, H, W]) or 'scores' (float32 [B, K, h, w]). The graph itself resizes its input by
    `test_scale`, and its result back: whoever runs it has nothing to do.
    """

    input_shape: list[int | None]
    output_op: str
    output_dtype: str
    output_shape: list[int | None]
    output_kind: str
    num_classes: int
    test_scale: float = 1.0
    input_name: str = "x"
    color_order: str = "RGB"
    model: str = "model.pdmodel"
    params: str = "model.pdiparams"
    transforms: list[dict[str, Any]] = field(default_factory=list)
    versions: dict[str, str] = field(default_factory=dict)


def write_deploy_yaml(config: DeployConfig, folder: str | Path) -> None:
    """Writes `deploy.yaml` into an exported folder."""
    text = yaml.safe_dump({"Deploy": asdict(config)}, sort_keys=False, allow_unicode=True)
    (Path(folder) / DEPLOY_FILE).write_text(text, encoding="utf-8")


def read_deploy_yaml(folder: str | Path) -> DeployConfig:
    """Reads it back. Raises ConversionError when it is missing or is not one of ours."""
    path = Path(folder) / DEPLOY_FILE
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))["Deploy"]
        return DeployConfig(**content)
    except FileNotFoundError as error:
        raise ConversionError(f"{folder} is not an exported model: {DEPLOY_FILE} is missing") from error
    except (yaml.YAMLError, KeyError, TypeError) as error:
        raise ConversionError(f"{path} is not a deploy.yaml written by tools/export.py: {error}") from error
