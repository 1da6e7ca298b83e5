import textwrap

import pytest
import yaml

from paddleseg_ext.cvlibs.config import Builder, Config
from paddleseg_ext.cvlibs.yaml_file import read_yaml
from paddleseg_ext_runtime.errors import ConfigError
from paddleseg_ext_tools.paths import resource

DEMO = resource("configs/pp_mobileseg/pp_mobileseg_tiny_scenes_demo.yml")


def write(path, text):
    path.write_text(textwrap.dedent(text))
    return path


def changed(tmp_path, change):
    content = read_yaml(DEMO)
    change(content)
    path = tmp_path / "changed.yml"
    path.write_text(yaml.safe_dump(content))
    return path


@pytest.mark.parametrize(
    ("opts", "message"),
    [
        (["itres=3"], "has no setting 'itres'; did you mean iters?"),
        (["model.upsampel=vim"], "model (PPMobileSeg) has no setting 'upsampel'; did you mean upsample?"),
        (["model.backbone.injtype=AAM"], "did you mean inj_type?"),
        (["model.type=PPMobilSeg"], "did you mean PPMobileSeg?"),
        (["modl.type=PPMobileSeg"], "the config has no modl; did you mean model?"),
        (["train_dataset.transforms.9.prob=1"], "needs an index from 0 to 2"),
        (["train_dataset.transforms.1.probb=1"], "did you mean prob?"),
        (["loss.types.0.type=MixedLos"], "did you mean MixedLoss?"),
        (["optimizer.weigth_decay=0.1"], "did you mean weight_decay?"),
        (["lr_scheduler.typ=1"], "did you mean type?"),
        (["lr_scheduler.type=PolynomialDeca"], "did you mean PolynomialDecay?"),
        (["batch_size=0"], "batch_size is 0; it must be a positive whole number"),
        (["iters=many"], "iters is 'many'"),
        (["model.backbone=foo"], "model.backbone is 'foo'; it needs a `type`"),
        (["model.type=[1]"], "which is not registered"),
        (["optimizer.custom_cfg=[{'lr_mult': 2}]"], "needs a `name`"),
        (["nonsense"], "--opts takes key=value pairs"),
        (["test_config={'scale': 1}"], "did you mean scales?"),
    ],
)
def test_mistakes_are_found_and_mended(opts, message):
    with pytest.raises(ConfigError) as error:
        Config(DEMO, opts=opts)
    assert message in str(error.value)


@pytest.mark.parametrize(
    ("key", "value", "expected"),
    [
        ("batch_size", "2", 2),
        ("model.upsample", "vim", "vim"),
        ("lr_scheduler.learning_rate", "1e-4", 1e-4),
        ("model.backbone.pretrained", "None", None),
        ("model.head_use_dw", "false", False),
        ("train_dataset.transforms.1.prob", "0.25", 0.25),
        ("model.pretrained", "http://x/y?a=b", "http://x/y?a=b"),
        ("test_config", "{'scales': [0.5, 1.0]}", {"scales": [0.5, 1.0]}),
    ],
)
def test_opts(key, value, expected):
    node = Config(DEMO, opts=[f"{key}={value}"]).dic
    for part in key.split("."):
        node = node[int(part)] if isinstance(node, list) else node[part]
    assert node == expected


def test_flags_override_even_with_falsy_values():
    config = Config(DEMO, learning_rate=0.0, batch_size=3, iters=7)
    assert config.dic["lr_scheduler"]["learning_rate"] == 0.0
    assert (config.batch_size, config.iters) == (3, 7)


@pytest.mark.parametrize("key", ["model", "loss", "optimizer", "iters"])
def test_a_missing_section_is_named(tmp_path, key):
    with pytest.raises(ConfigError, match=f"the config has no {key}"):
        Config(changed(tmp_path, lambda content: content.pop(key)))


def test_bases_merge_as_in_paddleseg(tmp_path):
    write(tmp_path / "a.yml", "{x: 1, d: {p: 1, q: 1}, l: [1, 2]}")
    write(tmp_path / "b.yml", "{x: 2, y: 2, d: {r: 2}}")
    top = write(tmp_path / "top.yml", "{_base_: [a.yml, b.yml], l: [3], e: {_inherited_: true, z: 1}}")
    assert read_yaml(top) == {"x": 1, "y": 2, "d": {"p": 1, "q": 1, "r": 2}, "l": [3], "e": {"z": 1}}
    top = write(tmp_path / "top.yml", "{_base_: [a.yml, b.yml], d: {_inherited_: False, s: 3}}")
    assert read_yaml(top)["d"] == {"s": 3}


def test_bases_in_a_circle(tmp_path):
    write(tmp_path / "a.yml", "_base_: b.yml")
    write(tmp_path / "b.yml", "_base_: a.yml")
    with pytest.raises(ConfigError, match="circle"):
        read_yaml(tmp_path / "a.yml")


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("x.json", "{}", "not a yaml file"),
        ("x.yml", "[1, 2]", "not a mapping"),
        ("x.yml", "a: [1", "cannot read"),
        ("x.yml", "!!python/object/apply:os.system [true]", "cannot read"),
    ],
)
def test_unreadable_yaml(tmp_path, name, content, message):
    (tmp_path / name).write_text(content)
    with pytest.raises(ConfigError, match=message):
        read_yaml(tmp_path / name)


def test_missing_yaml_suggests_a_neighbour(tmp_path):
    write(tmp_path / "model_base.yml", "{}")
    with pytest.raises(ConfigError, match=r"did you mean model_base\.yml"):
        read_yaml(tmp_path / "model_bass.yml")


def test_numbers_without_a_point_are_numbers(tmp_path):
    assert read_yaml(write(tmp_path / "n.yml", "{a: 1e-4, b: 6E5, c: -2e3, d: e1}")) == {
        "a": 1e-4, "b": 6e5, "c": -2e3, "d": "e1"
    }  # fmt: skip


def test_wrong_number_of_classes_is_refused():
    with pytest.raises(ConfigError, match="num_classes is not consistent"):
        Builder(Config(DEMO, opts=["model.num_classes=19"])).build("model")


def test_the_learning_rate_of_the_head_is_reported_as_ignored(capsys):
    builder = Builder(Config(resource("configs/pp_mobileseg/pp_mobileseg_base_ade20k_512x512_160k.yml")))
    builder.build_untrained_model()
    builder.build_optimizer()
    assert "'lr_multi' has no effect" in capsys.readouterr().err


def test_keys_for_other_tools_are_reported_and_anchors_are_not(tmp_path, capsys):
    content = {**read_yaml(DEMO), "x-norm": {"type": "Normalize"}, "to_static_training": True, "weights_and_biases": {}}
    path = tmp_path / "more.yml"
    path.write_text(yaml.safe_dump(content))
    Config(path)
    warned = capsys.readouterr().err
    assert "'to_static_training' is not used" in warned and "'weights_and_biases' is not used" in warned
    assert "x-norm" not in warned


@pytest.mark.parametrize("settings", [{"upsample": "bicubic"}, {"loss_stride": 0}])
def test_model_settings_fail_when_the_model_is_built(settings):
    ((key, value),) = settings.items()
    with pytest.raises(ConfigError, match=key):
        Builder(Config(DEMO, opts=[f"model.{key}={value}"])).build("model")


@pytest.mark.parametrize("opt", ["inj_type=aam", "out_feat_chs=[1,2]"])
def test_backbone_settings_fail_when_the_model_is_built(opt):
    with pytest.raises(ConfigError, match=opt.split("=")[0]):
        Builder(Config(DEMO, opts=[f"model.backbone.{opt}"])).build("model")


def test_in_channels_is_honoured():
    model = Builder(Config(DEMO, opts=["train_dataset.type=ADE20K"])).build("model")
    assert model.backbone.smb1.conv.c.weight.shape[1] == 3
    from paddleseg_ext.models.backbones import MobileSeg_Tiny

    assert MobileSeg_Tiny(in_channels=4).smb1.conv.c.weight.shape == [16, 4, 3, 3]
