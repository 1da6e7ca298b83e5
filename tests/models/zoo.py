"""The variants that the contract holds, one for each golden file, and how to build and fill them."""

import json
from pathlib import Path

import numpy as np
import paddle
from golden.fill import fill
from paddleseg.cvlibs import manager

GOLDEN = Path(__file__).parent.parent / "golden"
VARIANTS = sorted(path.stem for path in GOLDEN.glob("*.json"))


def golden(variant):
    return json.loads((GOLDEN / f"{variant}.json").read_text())


def build(settings):
    """A model from a PaddleSeg `model:` section, by the names PaddleSeg's managers know."""
    settings = dict(settings)
    name = settings.pop("type")
    if isinstance(settings.get("backbone"), dict):
        settings["backbone"] = build(settings["backbone"])
    components = manager.MODELS if name in manager.MODELS.components_dict else manager.BACKBONES
    return components[name](**settings)


def filled(variant, **changes):
    """The variant with the golden weights, in eval mode."""
    model = build({**golden(variant)["model"], **changes})
    model.set_state_dict({name: paddle.to_tensor(value) for name, value in fill(model.state_dict()).items()})
    model.eval()
    return model


def smooth_image(height, width, batch=1):
    """Low-frequency noise: logits with regions and borders, as pictures give, from any weights."""
    rng = np.random.RandomState(0)
    coarse = paddle.to_tensor(rng.uniform(-2, 2, (batch, 3, 6, 6)).astype("float32"))
    return paddle.nn.functional.interpolate(coarse, [height, width], mode="bilinear")
