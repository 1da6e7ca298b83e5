import pickle

import numpy as np
import paddle
import pytest

from paddleseg_ext.weights import ignoring, load_pretrained, load_weights, read_pdparams
from paddleseg_ext_runtime.errors import CheckpointError, ConfigError


def net(width=4):
    return paddle.nn.Sequential(paddle.nn.Conv2D(3, width, 3), paddle.nn.BatchNorm2D(width))


class Evil:
    def __reduce__(self):
        return (open, ("executed", "w"))


@pytest.fixture
def saved(tmp_path):
    model = net()
    paddle.save(model.state_dict(), str(tmp_path / "model.pdparams"))
    return model, tmp_path / "model.pdparams"


@pytest.mark.parametrize("protocol", [2, 4])
def test_reads_what_paddle_saves(tmp_path, protocol):
    model = net()
    optimizer = paddle.optimizer.AdamW(1e-3, parameters=model.parameters())
    model(paddle.randn([1, 3, 8, 8])).mean().backward()
    optimizer.step()
    others = {"mIoU": np.float64(0.5), "iter": 3, "empty": paddle.zeros([0, 2]), "swapped": np.arange(3, dtype=">f4")}
    for state in (model.state_dict(), optimizer.state_dict(), others):
        path = str(tmp_path / "x.pdparams")
        paddle.save(state, path, protocol=protocol)
        read, expected = read_pdparams(path), paddle.load(path, return_numpy=True)
        assert read.keys() == expected.keys()
        assert all(np.array_equal(read[name], expected[name]) for name in expected)


def test_a_malicious_file_is_refused_and_executes_nothing(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "evil.pdparams").write_bytes(pickle.dumps({"w": np.ones(3), "x": Evil()}))
    with pytest.raises(CheckpointError, match=r"names .*open, .* Nothing in it was executed"):
        read_pdparams(tmp_path / "evil.pdparams")
    assert not (tmp_path / "executed").exists()


@pytest.mark.parametrize("content", [b"", b"\x80\x04.", b"not a pickle", pickle.dumps([1, 2])])
def test_what_is_no_checkpoint(tmp_path, content):
    (tmp_path / "x.pdparams").write_bytes(content)
    with pytest.raises(CheckpointError, match=r"x\.pdparams"):
        read_pdparams(tmp_path / "x.pdparams")


def test_truncated_checkpoint(saved):
    _, path = saved
    path.write_bytes(path.read_bytes()[:200])
    with pytest.raises(CheckpointError, match="not a readable Paddle checkpoint"):
        read_pdparams(path)


def test_missing_checkpoint(tmp_path):
    with pytest.raises(CheckpointError, match="no checkpoint at"):
        read_pdparams(tmp_path / "none.pdparams")


def test_strict_loading(saved):
    model, path = saved
    other = net()
    load_weights(other, path)
    assert all((other.state_dict()[name] == value).all() for name, value in model.state_dict().items())


def test_another_models_checkpoint_is_refused_with_a_table_and_changes_nothing(saved):
    _, path = saved
    other = paddle.nn.Sequential(*net(8), paddle.nn.Linear(2, 2))
    before = {name: value.numpy() for name, value in other.state_dict().items()}
    with pytest.raises(CheckpointError) as error:
        load_weights(other, path)
    text = str(error.value)
    assert "0 of 8 tensors fit" in text
    assert "0.weight  checkpoint [4, 3, 3, 3], model [8, 3, 3, 3]" in text and "missing    2.weight" in text
    assert all((other.state_dict()[name].numpy() == value).all() for name, value in before.items())


def test_weights_that_are_not_finite(saved):
    model, path = saved
    model.state_dict()["0.bias"].set_value(np.full(4, np.nan, "float32"))
    paddle.save(model.state_dict(), str(path))
    with pytest.raises(CheckpointError, match="NaN or infinity in 1 tensors"):
        load_weights(net(), path)


class Backbone(paddle.nn.Layer):
    """A backbone whose classifiers have no `fusion`."""

    absent_from_pretrained = ("fusion.*",)

    def __init__(self, width=4, pretrained=None):
        super().__init__()
        self.stem = paddle.nn.Conv2D(3, width, 3)
        self.fusion = paddle.nn.Conv2D(width, width, 1)
        load_pretrained(self, pretrained)


class Whole(paddle.nn.Layer):
    def __init__(self, backbone, num_classes=5, pretrained=None):
        super().__init__()
        self.backbone = backbone
        self.head = paddle.nn.Conv2D(4, num_classes, 1)
        load_pretrained(self, pretrained)


@pytest.fixture
def whole(tmp_path):
    model = Whole(Backbone())
    paddle.save(model.state_dict(), str(tmp_path / "whole.pdparams"))
    return model, str(tmp_path / "whole.pdparams")


def test_a_backbone_may_lack_what_it_says_and_the_file_may_hold_a_classifier(tmp_path, capsys):
    state = {"stem.weight": paddle.ones([4, 3, 3, 3]), "stem.bias": paddle.ones([4]), "fc.weight": paddle.ones([4, 9])}
    paddle.save(state, str(tmp_path / "imagenet.pdparams"))
    model = Backbone(pretrained=str(tmp_path / "imagenet.pdparams"))
    assert (model.stem.weight == 1).all() and (model.fusion.weight != 1).any()
    text = capsys.readouterr().err
    assert "2 tensors loaded" in text and "not used: fc.weight" in text
    assert "left as initialised: fusion.weight, fusion.bias" in text


def test_a_backbone_takes_its_part_of_a_whole_networks_file(whole):
    model, path = whole
    backbone = Backbone(pretrained=path)
    assert (backbone.stem.weight == model.backbone.stem.weight).all()
    assert (backbone.fusion.weight == model.backbone.fusion.weight).all()


def test_a_backbone_refuses_anothers_file(whole, tmp_path):
    with pytest.raises(CheckpointError, match=r"cannot pretrain this backbone: 0 of 4 tensors fit"):
        Backbone(width=8, pretrained=whole[1])
    paddle.save({"stem.weight": paddle.ones([4, 3, 3, 3])}, str(tmp_path / "part.pdparams"))
    with pytest.raises(CheckpointError, match=r"missing    stem\.bias"):
        Backbone(pretrained=str(tmp_path / "part.pdparams"))
    deeper = {**Backbone().state_dict(), "stem.1.weight": paddle.ones([4])}
    paddle.save(deeper, str(tmp_path / "deeper.pdparams"))
    with pytest.raises(CheckpointError, match=r"unexpected stem\.1\.weight"):
        Backbone(pretrained=str(tmp_path / "deeper.pdparams"))
    Backbone(pretrained=None)


def test_a_whole_network_is_strict_but_for_what_is_ignored(whole, capsys):
    model, path = whole
    with pytest.raises(CheckpointError, match=r"shape      head\.weight(.|\n)*--ignore 'head\.\*'"):
        Whole(Backbone(), num_classes=7, pretrained=path)
    with ignoring(["head.*"]):
        other = Whole(Backbone(), num_classes=7, pretrained=path)
    assert (other.backbone.stem.weight == model.backbone.stem.weight).all() and other.head.weight.shape[0] == 7
    assert "left as initialised: head.bias, head.weight" in capsys.readouterr().err


def test_a_backbones_tensors_are_ignored_by_either_name(whole):
    for pattern in ("stem.*", "backbone.stem.*"):
        with ignoring([pattern]):
            assert Backbone(width=4, pretrained=whole[1]).stem.weight.shape[0] == 4
        with ignoring([pattern]), pytest.raises(CheckpointError, match=r"shape      fusion\.weight"):
            Backbone(width=8, pretrained=whole[1])


@pytest.mark.parametrize("load", [load_weights, load_pretrained])
def test_an_ignored_name_has_to_exist(whole, load):
    with pytest.raises(ConfigError, match=r"--ignore haed\.\* matches no tensor; the nearest are .*head\.bias"):
        if load is load_weights:
            load_weights(whole[0], whole[1], ["haed.*"])
        else:
            with ignoring(["head.*", "haed.*"]):
                Whole(Backbone(), pretrained=whole[1])
    with pytest.raises(ConfigError, match="the config gives no pretrained"), ignoring(["head.*"]):
        Whole(Backbone())


def test_load_weights_leaves_what_is_ignored(whole):
    model, path = whole
    other = Whole(Backbone(), num_classes=7)
    before = other.head.weight.numpy()
    load_weights(other, path, ["head.*"])
    assert (other.head.weight.numpy() == before).all() and (other.backbone.stem.bias == model.backbone.stem.bias).all()


def test_dtypes_that_do_not_fit(tmp_path):
    model = net()
    halves = {name: value.astype("float16") for name, value in model.state_dict().items()}
    paddle.save(halves, str(tmp_path / "half.pdparams"))
    other = net()
    load_weights(other, tmp_path / "half.pdparams")
    assert (other[0].weight == halves["0.weight"].astype("float32")).all() and other[0].weight.dtype == paddle.float32
    paddle.save({**model.state_dict(), "0.bias": paddle.ones([4], "int64")}, str(tmp_path / "int.pdparams"))
    with pytest.raises(CheckpointError, match=r"holds 0\.bias as int64, the network needs float32"):
        load_weights(net(), tmp_path / "int.pdparams")
