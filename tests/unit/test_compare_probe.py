"""Weights made for timing: fifteen classes win, in regions, whatever the network."""

import numpy as np
import paddle
import pytest
from models.zoo import build, golden
from paddle import nn

from paddleseg_ext.models.output_ops import OUTPUT_OPS
from paddleseg_ext_runtime.errors import ConversionError
from paddleseg_ext_tools.lab.probe import CLASSES, probe
from paddleseg_ext_tools.scenes import SCENE_CLASSES, make_scene

SIZE = (160, 192)
NORM = [0.5] * 3
CASES = ["pp_mobileseg_tiny", "topformer_tiny", "seaformer_tiny", "pp_liteseg_stdc1", "mobileseg_mobilenetv3"]


def picture(seed=4):
    image = make_scene(seed, *SIZE)[0].astype("float32") / 255
    return paddle.to_tensor(((image - 0.5) / 0.5).transpose(2, 0, 1)[None])


def probed(variant, num_classes=150):
    settings = golden(variant)["model"]
    model = build({**settings, "num_classes": num_classes})
    return model, probe(model, num_classes, picture(), NORM, NORM)


@paddle.no_grad()
def labels(model, x, op="argmax"):
    return OUTPUT_OPS[op](model.align_corners)(model.logits(x), x.shape[2:]).numpy()


# The first three classify with a bias, the other two without.
@pytest.mark.parametrize("variant", CASES)
def test_fifteen_classes_win_in_regions(variant):
    model, classes = probed(variant)
    assert not any(layer.training for layer in model.sublayers(include_self=True))
    assert len(classes) == CLASSES and {index + 1 for index in classes} < SCENE_CLASSES.keys()
    with paddle.no_grad():
        logits = model.logits(picture())
    for op in ("vim", "vim_exact"):
        assert tuple(OUTPUT_OPS[op]().kept(logits).numpy()) == classes
    found = labels(model, picture())
    assert (found == labels(model, picture(), "vim")).mean() > 0.999
    # Beside a pixel lies one of its own class: noise with fifteen classes would have that one time in fifteen.
    assert (found[:, :, 1:] == found[:, :, :-1]).mean() > 0.8


@pytest.mark.parametrize("variant", ["pp_mobileseg_tiny", "pp_liteseg_stdc1"])
def test_every_class_wins_by_more_than_rounding(variant):
    model = build({**golden(variant)["model"], "num_classes": 150})
    classes = probe(model, 150, picture(33), NORM, NORM)  # a picture whose labels the fit has not seen
    with paddle.no_grad():
        scores = model.logits(picture(33)).numpy()[0].reshape(150, -1)
    lead = np.sort(scores, axis=0)[-1] - np.sort(scores, axis=0)[-2]
    leads = {index: lead[scores.argmax(axis=0) == index].max() for index in classes}
    assert len(leads) == CLASSES and min(leads.values()) > 0.015, leads


@pytest.mark.parametrize("variant", ["pp_mobileseg_tiny", "pp_liteseg_stdc1"])
def test_no_other_class_ever_wins(variant):
    model, classes = probed(variant)
    noise = paddle.to_tensor(np.random.RandomState(0).normal(0, 3, (1, 3, *SIZE)).astype("float32"))
    for x in (noise, picture(9), -picture()):
        assert set(np.unique(labels(model, x))) <= set(classes)


@pytest.mark.parametrize(("num_classes", "expected"), [(11, 11), (19, 15)])
def test_a_model_with_fewer_classes(num_classes, expected):
    model, classes = probed("pp_liteseg_stdc1", num_classes)
    assert classes == tuple(range(expected))
    assert set(np.unique(labels(model, picture()))) == set(classes)


def test_only_statistics_and_classifier_change():
    paddle.seed(3)
    model = build(golden("pp_mobileseg_tiny")["model"])
    norms = [layer for layer in model.sublayers() if isinstance(layer, nn.BatchNorm2D)]
    momenta, before = [norm._momentum for norm in norms], {k: v.numpy() for k, v in model.state_dict().items()}
    probe(model, 150, picture(), NORM, NORM)
    assert [norm._momentum for norm in norms] == momenta
    changed = {name for name, value in model.state_dict().items() if not np.array_equal(value.numpy(), before[name])}
    classifier = {"decode_head.conv_seg.weight", "decode_head.conv_seg.bias"}
    assert classifier < changed
    assert all(name.endswith(("._mean", "._variance")) for name in changed - classifier)
    after = {name: value.numpy() for name, value in model.state_dict().items()}
    probe(model, 150, picture(), NORM, NORM)
    again = {name: value.numpy() for name, value in model.state_dict().items()}
    assert all(np.array_equal(after[name], again[name]) for name in after)


def test_a_model_without_classifier():
    model = nn.Sequential(nn.Conv2D(3, 7, 3, padding=1))
    with pytest.raises(ConversionError, match="no 1x1 convolution to its 7 classes"):
        probe(model, 7, picture(), NORM, NORM)
