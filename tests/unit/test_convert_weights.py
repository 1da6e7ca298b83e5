import csv
import shutil
import sys
from pathlib import Path

import numpy as np
import paddle
import pytest
from models import zoo
from paddleseg.models.backbones.top_transformer import TopTransformer_Tiny
from paddleseg.models.topformer import TopFormer
from paddleseg.utils import utils
from unit.torch_layout import FORMS, WRAPPINGS, save

from paddleseg_ext.core.checkpoint import save_folder, weights_to_save
from paddleseg_ext.weights import SETTINGS_KEY, ignoring, load_pretrained, load_weights, settings_of
from paddleseg_ext.weights.conversion import convert
from paddleseg_ext.weights.mapping import paddle_to_torch, torch_to_paddle
from paddleseg_ext.weights.reading import read_checkpoint, write_checkpoint
from paddleseg_ext.weights.torch_file import read_torch
from paddleseg_ext_runtime.errors import CheckpointError, ConfigError
from paddleseg_ext_tools.commands import convert_weights

KEYS = Path(__file__).parent.parent / "golden" / "torch_keys"
MODELS = sorted(path.stem.removeprefix("keys_") for path in KEYS.glob("*.tsv"))
TINY = ["pp_mobileseg_tiny", "topformer_tiny", "seaformer_tiny"]
PYRAMIDS = {"smb1", "smb2", "smb3", "smb4", "trans1", "trans2", "tpm", "trans"}
PROJECTS = {
    "pp": "mmsegmentation's PP-MobileSeg", "topformer": "the official TopFormer", "seaformer": "the official SeaFormer",
}  # fmt: skip
POOL = "backbone.ppa.pool"


def rows(model):
    """(name in torch, shape, name in Paddle or None) of every tensor."""
    with (KEYS / f"keys_{model}.tsv").open() as file:
        for row in csv.DictReader(file, delimiter="\t"):
            shape = tuple(int(n) for n in row["shape"].split("x")) if row["shape"] != "scalar" else ()
            yield row["torch"], shape, None if row["paddle"] == "-" else row["paddle"]


def torch_tensors(model):
    """What the project's file of this model holds, each value telling where it belongs."""
    rng = np.random.RandomState(0)
    return {
        name: np.array(0, "int64") if paddle_name is None else rng.standard_normal(shape).astype("float32")
        for name, shape, paddle_name in rows(model)
    }


def names(model):
    """As `torch_tensors`, without the numbers."""
    return {n: np.empty((), "int64") if p is None else np.empty([0], "f4") for n, _, p in rows(model)}


def project_of(model):
    return PROJECTS[model.split("_")[0]]


def equal(one, other):
    assert list(one) == list(other)
    for name, value in one.items():
        assert value.dtype == other[name].dtype and np.array_equal(value, other[name]), name


def test_all_models_are_there():
    assert len(MODELS) == 9 and sum(len(list(rows(model))) for model in MODELS) == 4938


@pytest.mark.parametrize("model", MODELS)
def test_every_name_is_mapped_both_ways(model):
    tensors = torch_tensors(model)
    done = torch_to_paddle(tensors, "x")
    assert done.project.name == project_of(model) and not done.is_backbone and not done.unused
    assert done.counters == sum(paddle_name is None for *_, paddle_name in rows(model))
    wanted = {paddle_name: tensors[name] for name, _, paddle_name in rows(model) if paddle_name}
    assert {name: id(value) for name, value in done.tensors.items()} == {n: id(v) for n, v in wanted.items()}
    back = paddle_to_torch(done.tensors, "x")
    assert back.project.name == project_of(model) and back.counters == done.counters
    equal(back.tensors, tensors)


@pytest.mark.parametrize("model", MODELS)
def test_a_backbones_file_stays_one(model):
    tensors = {n.removeprefix("backbone."): v for n, v in torch_tensors(model).items() if n.startswith("backbone.")}
    done = torch_to_paddle(tensors, "x")
    wanted = [name for *_, name in rows(model) if name and name.startswith("backbone.")]
    assert done.is_backbone and [f"backbone.{name}" for name in done.tensors] == wanted
    equal(paddle_to_torch(done.tensors, "x").tensors, tensors)


@pytest.mark.parametrize("model", MODELS)
def test_there_and_back_by_file(model, tmp_path):
    tensors = torch_tensors(model)
    save(tmp_path / "in.pth", tensors)
    convert(str(tmp_path / "in.pth"), tmp_path / "model.pdparams", zoo.build(zoo.golden(model)["model"]))
    convert(str(tmp_path / "model.pdparams"), tmp_path / "out.pth")
    equal(read_torch(tmp_path / "out.pth"), tensors)


@pytest.mark.parametrize("model", TINY)
@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("wrapping", WRAPPINGS)
def test_every_layout_gives_the_same(model, form, wrapping, tmp_path):
    tensors = {name: np.full([2][: value.ndim], i, value.dtype) for i, (name, value) in enumerate(names(model).items())}
    path = save(tmp_path / "in.pth", tensors, form, wrapping)
    convert(str(path), tmp_path / "model.pdparams")
    wanted = torch_to_paddle(tensors, "x").tensors
    equal(read_checkpoint(tmp_path / "model.pdparams").tensors, wanted)
    equal(read_checkpoint(path).tensors, wanted)


@pytest.mark.parametrize("model", TINY)
def test_a_torch_file_is_loaded_as_it_is(model, tmp_path):
    path = save(tmp_path / "in.pth", torch_tensors(model))
    network = zoo.build(zoo.golden(model)["model"])
    load_weights(network, path)
    state = network.state_dict()
    assert all(
        np.array_equal(state[n].numpy(), v) for n, v in torch_to_paddle(torch_tensors(model), "x").tensors.items()
    )


def test_the_classifier_of_an_imagenet_file_is_dropped_and_named(tmp_path):
    tensors = torch_tensors("seaformer_tiny")
    tensors = {n.removeprefix("backbone."): v for n, v in tensors.items() if n.startswith("backbone.")}
    tensors.update({"linear.weight": np.zeros((1000, 160), "f4"), "linear.bias": np.zeros(1000, "f4")})
    done = torch_to_paddle(tensors, "x")
    assert done.unused == ("linear.weight", "linear.bias") and not {*done.unused} & {*done.tensors}
    with pytest.raises(CheckpointError, match=r"unexpected linear\.weight"):
        torch_to_paddle({**torch_tensors("seaformer_tiny"), "linear.weight": np.zeros(1)}, "x")


@pytest.mark.parametrize("model", TINY)
@pytest.mark.parametrize("convert_tensors", [torch_to_paddle, paddle_to_torch])
def test_a_name_no_rule_says_is_refused_with_a_table(model, convert_tensors):
    tensors = torch_tensors(model)
    if convert_tensors is paddle_to_torch:
        tensors = torch_to_paddle(tensors, "x").tensors
    odd = {
        "backbone.smb9.extra.weight": 0, "auxiliary_head.conv_seg.weight": 0, "decode_head.conv_seg.weight.x": 0,
        "xbackbone.tpm.stem.0.c.weight": 0, "backbone.loose.num_batches_tracked": 0,
    }  # fmt: skip
    with pytest.raises(CheckpointError) as error:
        convert_tensors({**tensors, **{name: np.zeros(1) for name in odd}}, "odd.pth")
    assert f"odd.pth is of {'the network of ' * (convert_tensors is paddle_to_torch)}{project_of(model)}" in str(
        error.value
    )
    for name in odd:
        assert f"  unexpected {name}\n" in str(error.value)
    assert "--ignore" in str(error.value)


def test_a_file_of_none_of_the_three_says_what_it_holds():
    tensors = {f"layer{i}.conv.weight": np.zeros(1) for i in range(5)}
    for convert_tensors in (torch_to_paddle, paddle_to_torch):
        with pytest.raises(CheckpointError) as error:
            convert_tensors(tensors, "resnet.pth")
        for part in (*PROJECTS.values(), "layer0.conv.weight, layer1.conv.weight, layer2.conv.weight and 2 more"):
            assert part in str(error.value)
    with pytest.raises(CheckpointError, match="it holds no tensors"):
        torch_to_paddle({}, "x.pth")


def test_with_a_model_every_tensor_has_to_fit_it(tmp_path):
    tensors = torch_tensors("topformer_tiny")
    model = zoo.build({**zoo.golden("topformer_tiny")["model"], "num_classes": 19})
    path, output = str(save(tmp_path / "in.pth", tensors)), tmp_path / "model.pdparams"
    with pytest.raises(
        CheckpointError, match=r"does not fit the model(.|\n)*conv_seg\.bias  checkpoint \[150\], model \[19\]"
    ):
        convert(path, output, model)
    with pytest.raises(ConfigError, match=r"the nearest are decode_head\.conv_seg"):
        convert(path, output, model, ["decode_head.conv_sec.*"])
    assert not output.exists()
    convert(path, output, model, ["decode_head.conv_seg.*"])
    assert "decode_head.conv_seg.bias" not in read_checkpoint(output).tensors
    load_weights(model, output, ["decode_head.conv_seg.*"])


@pytest.mark.parametrize("patterns", [["decode_head.conv_seg.*"], ["cls_seg.*"], ["*_head.conv_seg.*", "cls_seg.*"]])
def test_seaformer_of_another_number_of_classes(tmp_path, patterns):
    """Its classifier has another name on each side; either says it, whatever the direction."""
    tensors = torch_tensors("seaformer_tiny")
    model = zoo.build({**zoo.golden("seaformer_tiny")["model"], "num_classes": 19})
    path, output = str(save(tmp_path / "in.pth", tensors)), tmp_path / "model.pdparams"
    convert(path, output, model, patterns)
    written = read_checkpoint(output).tensors
    assert written.keys() == model.state_dict().keys() - {"cls_seg.weight", "cls_seg.bias"}
    load_weights(model, path, patterns)
    assert all(np.array_equal(model.state_dict()[name].numpy(), value) for name, value in written.items())
    convert(path, output)
    convert(str(output), tmp_path / "back.pth", model, patterns)
    equal(read_torch(tmp_path / "back.pth"), {n: v for n, v in tensors.items() if "conv_seg" not in n})
    with pytest.raises(ConfigError, match=r"cls_sge\.\* matches no tensor; the nearest are cls_seg"):
        convert(path, tmp_path / "none.pdparams", model, [*patterns, "cls_sge.*"])
    assert not (tmp_path / "none.pdparams").exists()


@pytest.mark.parametrize("model", TINY)
def test_what_is_ignored_may_be_of_no_known_name(model, tmp_path, capsys):
    extra = {"auxiliary_head.bn.weight": np.zeros(2, "f4"), "auxiliary_head.bn.num_batches_tracked": np.array(0)}
    tensors = torch_tensors(model)
    path = str(save(tmp_path / "in.pth", {**tensors, **extra}))
    network = zoo.build(zoo.golden(model)["model"])
    for load in (load_weights, load_pretrained):
        with pytest.raises(CheckpointError, match=r"unexpected auxiliary_head\.bn\.weight(.|\n)*--ignore"):
            load(network, path)
    with ignoring(["auxiliary_head.*"]):
        load_pretrained(network, path)
        zoo.build({**zoo.golden(model)["model"]["backbone"], "pretrained": path})
    assert "auxiliary_head.bn.weight" in capsys.readouterr().err
    load_weights(network, path, ["auxiliary_head.*"])
    state, expected = network.state_dict(), torch_to_paddle(tensors, "x").tensors
    equal({name: state[name].numpy() for name in expected}, expected)


def test_a_backbone_has_to_fit_the_models(tmp_path):
    tensors = torch_tensors("topformer_tiny")
    tensors = {n.removeprefix("backbone."): v for n, v in tensors.items() if n.startswith("backbone.")}
    lacking = {name: value for name, value in tensors.items() if not name.startswith("SIM.")}
    for kept in (tensors, lacking):
        path = str(save(tmp_path / "in.pth", kept))
        convert(path, tmp_path / "model.pdparams", zoo.build(zoo.golden("topformer_tiny")["model"]))
        backbone = zoo.build({**zoo.golden("topformer_tiny")["model"]["backbone"], "pretrained": path})
        assert settings_of(backbone) == {"ppa.pool": "adaptive"}
        assert np.array_equal(backbone.tpm.stem[0].c.weight.numpy(), tensors["tpm.stem.0.c.weight"])
    with pytest.raises(CheckpointError, match="does not fit the model"):
        convert(path, tmp_path / "model.pdparams", zoo.build(zoo.golden("topformer_base")["model"]))


@pytest.mark.parametrize("model", ["pp_mobileseg_tiny", "pp_mobileseg_base_origin", "topformer_tiny"])
def test_a_backbone_starts_from_weights_without_its_fusion(model, tmp_path, capsys):
    """As classifiers give them; but nothing else may be missing."""
    settings = zoo.golden(model)["model"]["backbone"]
    source = zoo.build(settings)
    state = {name: value for name, value in source.state_dict().items() if name.split(".")[0] in PYRAMIDS}
    paddle.save({**state, "fc.weight": paddle.ones([2, 2])}, str(tmp_path / "imagenet.pdparams"))
    backbone = zoo.build({**settings, "pretrained": str(tmp_path / "imagenet.pdparams")})
    loaded = backbone.state_dict()
    assert all(paddle.equal_all(loaded[name], value) for name, value in state.items())
    said = capsys.readouterr().err
    assert f"{len(state)} tensors loaded" in said and "not used: fc.weight" in said and "left as initialised: " in said
    state.popitem()
    paddle.save(state, str(tmp_path / "imagenet.pdparams"))
    with pytest.raises(CheckpointError, match=r"cannot pretrain this backbone(.|\n)*missing    trans"):
        zoo.build({**settings, "pretrained": str(tmp_path / "imagenet.pdparams")})


@pytest.fixture(scope="module")
def converted(tmp_path_factory):
    """Official TopFormer weights, and what they were converted to."""
    folder = tmp_path_factory.mktemp("converted")
    model = zoo.filled("topformer_tiny")
    tensors = paddle_to_torch({name: value.numpy() for name, value in model.state_dict().items()}, "x").tensors
    convert(str(save(folder / "official.pth", tensors)), folder / "official.pdparams")
    return folder


@pytest.fixture
def official(converted, tmp_path):
    """A copy of them, to be changed."""
    shutil.copytree(converted, tmp_path, dirs_exist_ok=True)
    return tmp_path / "official.pdparams"


def topformer(**backbone):
    settings = zoo.golden("topformer_tiny")["model"]
    model = zoo.build({**settings, "backbone": {**settings["backbone"], **backbone}})
    model.eval()
    return model


def test_official_weights_pool_as_officially(official, tmp_path):
    model, image = topformer(), zoo.smooth_image(96, 160)
    assert read_checkpoint(official).settings == {POOL: "adaptive"}
    load_weights(model, official)
    assert settings_of(model) == {POOL: "adaptive"}
    told = topformer(pool="adaptive")
    load_weights(told, official)
    assert paddle.equal_all(model.logits(image), told.logits(image))
    plain = zoo.filled("topformer_tiny")
    assert not paddle.allclose(model.logits(image), plain.logits(image))
    paddle.save(plain.state_dict(), str(tmp_path / "paddleseg.pdparams"))
    other = topformer()
    load_weights(other, tmp_path / "paddleseg.pdparams")
    assert settings_of(other) == {POOL: "paddleseg"}


def test_training_keeps_the_pooling_of_its_weights(official, tmp_path):
    model = topformer(pretrained=str(official))
    save_folder(tmp_path / "iter_1", {"model.pdparams": weights_to_save(model)})
    again = topformer()
    load_weights(again, tmp_path / "iter_1" / "model.pdparams")
    assert settings_of(again) == {POOL: "adaptive"}
    assert SETTINGS_KEY not in weights_to_save(zoo.build(zoo.golden("seaformer_tiny")["model"]))


def test_weights_of_paddleseg_after_official_ones(official, tmp_path):
    """The whole network's weights decide, but not over a backbone that they leave as it is."""
    plain = str(tmp_path / "paddleseg.pdparams")
    paddle.save(zoo.filled("topformer_tiny").state_dict(), plain)
    model = topformer(pretrained=str(official))
    with ignoring(["backbone.*"]):
        load_pretrained(model, plain)
    assert settings_of(model) == {POOL: "adaptive"}
    load_pretrained(model, plain)
    assert settings_of(model) == {POOL: "paddleseg"}
    told = topformer(pool="adaptive")
    load_weights(told, plain)
    assert settings_of(told) == {POOL: "adaptive"}


def test_what_the_yaml_says_wins_and_is_said(official, capsys):
    model = topformer(pool="paddleseg")
    load_weights(model, official)
    assert settings_of(model) == {POOL: "paddleseg"}
    assert f"was trained with {POOL} 'adaptive'; the config says 'paddleseg'" in capsys.readouterr().err


def test_paddleseg_loads_converted_weights(official):
    expected = read_checkpoint(official).tensors
    for load in (utils.load_entire_model, lambda net, path: net.set_state_dict(paddle.load(path))):
        model = TopFormer(150, TopTransformer_Tiny(), head_use_dw=True)
        load(model, str(official))
        state = model.state_dict()
        assert state.keys() == expected.keys()
        assert all(np.array_equal(state[name].numpy(), value) for name, value in expected.items())


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ({POOL: "cubic"}, "pool is 'cubic'"),
        ({"backbone.ppa.stride": "2"}, "which this network does not know"),
        ({"backbone.forward": "x"}, "which this network does not know"),
        ({POOL: 3}, "settings that cannot be read"),
        ([POOL], "settings that cannot be read"),
    ],
)
def test_settings_that_mean_nothing(official, settings, says):
    state = paddle.load(str(official))
    paddle.save({**state, SETTINGS_KEY: settings}, str(official))
    with pytest.raises(CheckpointError, match=says):
        load_weights(topformer(), official)


def test_the_way_back_says_that_the_pooling_changes(official, tmp_path, capsys):
    convert(str(official), tmp_path / "back.pth")
    assert "Results will differ" not in capsys.readouterr().err
    write_checkpoint(tmp_path / "plain.pdparams", read_checkpoint(official).tensors, {})
    convert(str(tmp_path / "plain.pdparams"), tmp_path / "back.pth")
    assert "these weights were trained with PaddleSeg's. Results will differ" in capsys.readouterr().err


def run(monkeypatch, capsys, *argv, code=0):
    monkeypatch.setattr(sys, "argv", ["convert_weights"])
    assert convert_weights.main([str(part) for part in argv]) == code
    return capsys.readouterr()


def test_the_tool(official, tmp_path, monkeypatch, capsys):
    config = "configs/topformer/topformer_tiny_ade20k_512x512_160k.yml"
    source, output = tmp_path / "official.pth", tmp_path / "new" / "model.pdparams"
    said = run(monkeypatch, capsys, "--input", source, "--output", output, "--config", config).out
    assert said.splitlines() == [
        f"{output}: all of the official TopFormer, 315 tensors",
        "  61 num_batches_tracked dropped: Paddle has none",
        f"  {POOL}: adaptive, as the weights were trained; kept in the file",
        f"  every tensor fits {config}",
    ]
    said = run(monkeypatch, capsys, "--input", output, "--output", tmp_path / "back.pt").out
    assert "61 num_batches_tracked added as 0" in said
    equal(read_torch(tmp_path / "back.pt"), read_torch(source))


def test_the_tools_errors(official, tmp_path, monkeypatch, capsys):
    torch_file = tmp_path / "official.pth"
    for source, output, code, says in (
        (torch_file, tmp_path / "x.pth", 5, "is a checkpoint of torch already"),
        (official, tmp_path / "x.pdparams", 5, "neither a zip file nor"),
        (tmp_path / "none.pth", tmp_path / "x.pdparams", 5, "no checkpoint at"),
        (tmp_path / "none.pdparams", tmp_path / "x.pth", 5, "no checkpoint at"),
        ("http://127.0.0.1:9/x.pth", tmp_path / "x.pdparams", 8, "cannot fetch"),
        (torch_file, torch_file / "x.pdparams", 2, "cannot write"),
    ):
        err = run(monkeypatch, capsys, "--input", source, "--output", output, code=code).err
        assert says in err and len(err.splitlines()) < 4, err
    with pytest.raises(SystemExit) as stopped:
        convert_weights.main(["--input", str(official), "--output", "x.onnx"])
    assert stopped.value.code == 2
    assert sorted(path.name for path in tmp_path.iterdir()) == ["official.pdparams", "official.pth"]


def test_pretrained_takes_a_torch_file_of_another_number_of_classes(official, tmp_path):
    settings = {**zoo.golden("topformer_tiny")["model"], "num_classes": 19}
    with pytest.raises(CheckpointError, match=r"--ignore 'decode_head\.conv_seg"):
        load_pretrained(zoo.build(settings), str(tmp_path / "official.pth"))
