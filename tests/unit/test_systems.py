"""lab.systems: from a config to a network with its weights, and to an exported folder."""

from pathlib import Path

import cv2
import numpy as np
import paddle
import pytest

from paddleseg_ext.export.static_graph import with_output_op
from paddleseg_ext_runtime.errors import ConfigError, ConversionError
from paddleseg_ext_tools.lab.systems import Network, read_picture
from paddleseg_ext_tools.paths import resource

CONFIG = "configs/pp_mobileseg/pp_mobileseg_tiny_ade20k_512x512_160k.yml"
SIZE = (128, 192)


@pytest.fixture(scope="module")
def network() -> Network:
    return Network(resource(CONFIG), ["test_config=null"])


def test_a_yaml_that_is_wrong_fails_before_a_model_is_built(tmp_path):
    path = tmp_path / "wrong.yml"
    path.write_text("iters: 1\n", encoding="utf-8")
    with pytest.raises(ConfigError, match="no batch_size"):
        Network(path)


def test_several_scales_are_refused_without_a_model():
    several = Network(resource(CONFIG), ['test_config={"aug_eval": True, "scales": [0.5, 1.0]}'])
    with pytest.raises(ConfigError, match="scale"):
        _ = several.test_scale
    assert "model" not in vars(several)


def test_the_output_op_is_the_asked_one_or_the_yamls(network):
    assert network.output_op(None) == "argmax"
    assert network.output_op("vim") == "vim"
    assert Network(resource(CONFIG), ["model.upsample=vim"]).output_op(None) == "vim"


def test_a_checkpoint_gives_its_weights_and_its_lack_a_warning(network, tmp_path, capsys):
    path = tmp_path / "model.pdparams"
    paddle.save(network.model.state_dict(), str(path))
    other = Network(resource(CONFIG))
    other.load(None, otherwise="random weights")
    assert "no --model_path: random weights" in capsys.readouterr().err
    other.load(path, otherwise="random weights")
    theirs = network.model.state_dict()
    assert all((value.numpy() == theirs[name].numpy()).all() for name, value in other.model.state_dict().items())


def test_a_picture_is_the_drawn_scene_or_a_file(tmp_path):
    scene = read_picture(None, SIZE)
    assert scene.shape == (*SIZE, 3)
    path = tmp_path / "scene.png"
    cv2.imwrite(str(path), scene[:, :, ::-1])
    np.testing.assert_array_equal(read_picture(path, SIZE), scene)


def test_an_export_gives_what_the_network_gives(network, tmp_path):
    array = network.normalised(read_picture(None, SIZE))
    assert array.shape == (1, 3, *SIZE)
    network.make_weights(array)
    report = network.export("vim", array.shape, tmp_path / "made" / "here")
    assert {path.name for path in (tmp_path / "made" / "here").iterdir()} >= {"model.pdmodel", "deploy.yaml"}
    assert (report.config.output_op, report.config.input_shape) == ("vim", list(array.shape))
    with paddle.no_grad():
        labels = with_output_op(network.model, "vim", array)(paddle.to_tensor(array)).numpy()
    assert len(np.unique(labels)) > 5


def test_transforms_that_no_runtime_executes_are_refused(tmp_path: Path):
    odd = Network(resource(CONFIG), ['val_dataset.transforms=[{"type": "RandomBlur"}]'])
    with pytest.raises(ConversionError, match="RandomBlur"):
        odd.export("argmax", [1, 3, *SIZE], tmp_path)
