"""Every config below `configs/`, found by where it lies: one that is added is tested without a line here.

All are built and their numbers checked; one of each family and data set is also trained for two iterations, evaluated
and exported on a drawn data set of its layout, and `make matrix` does that with all.
"""

import json
from itertools import takewhile
from pathlib import Path

import numpy as np
import paddle
import pytest
from paddleseg.cvlibs import manager
from paddleseg.cvlibs.config import parse_from_yaml

from paddleseg_ext.core.inference import InferenceOptions
from paddleseg_ext.core.train import Trainer, TrainOptions, compute_losses
from paddleseg_ext.cvlibs.config import Builder, Config
from paddleseg_ext.cvlibs.yaml_file import read_yaml
from paddleseg_ext.export.static_graph import export
from paddleseg_ext.models.output_ops import resolve_output_op
from paddleseg_ext_runtime.deploy_yaml import read_deploy_yaml
from paddleseg_ext_tools.scenes import write_dataset

ROOT = Path(__file__).parents[2] / "configs"
# A leading underscore says that a file or a folder is a part of others.
CONFIGS = {path.relative_to(ROOT).as_posix(): path for path in sorted(ROOT.glob("[!_]*/[!_]*.yml"))}
LAYOUTS = {"ADE20K": "ade20k", "Cityscapes": "cityscapes", "Dataset": "camvid"}
SIZES = {"ade20k": (64, 96), "cityscapes": (64, 128), "camvid": (72, 96)}
SMALL = {"RandomPaddingCrop": ("crop_size", [96, 64]), "Resize": ("target_size", [256, 64])}
EXPORTED = [1, 3, 64, 96]


def one_of_each():
    """The last config of every family and data set: in order of their names the small networks come last."""
    return {
        (path.parent.name, read_yaml(path)["train_dataset"]["type"]): name for name, path in CONFIGS.items()
    }.values()


def cases():
    short = one_of_each()
    return [pytest.param(name, marks=() if name in short else pytest.mark.matrix) for name in CONFIGS]


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """The root of a drawn set for each type of data set, made when a config first needs it."""

    def root(kind):
        layout = LAYOUTS[kind]
        path = tmp_path_factory.getbasetemp() / f"drawn_{layout}"
        write_dataset(path, train=4, val=2, size=SIZES[layout], layout=layout)
        return path

    return root


def shrunk(path, data):
    """`--opts` that let a config train on a drawn data set in a second."""
    content, opts = read_yaml(path), ["batch_size=2", "iters=2"]
    for section in ("train_dataset", "val_dataset"):
        settings = content[section]
        root = data(settings["type"])
        opts.append(f"{section}.dataset_root={root}")
        opts += [f"{section}.{key}={root / Path(settings[key]).name}" for key in settings if key.endswith("_path")]
        for index, transform in enumerate(settings["transforms"]):
            if transform["type"] in SMALL:
                key, value = SMALL[transform["type"]]
                opts.append(f"{section}.transforms.{index}.{key}={value}")
    return opts


@pytest.fixture(scope="module")
def built():
    """Models by what builds them: several configs differ in their recipe alone."""
    models = {}

    def get(config):
        key = json.dumps(config.dic["model"], sort_keys=True)
        if key not in models:
            models[key] = Builder(config).build_untrained_model()
        return models[key]

    return get


@pytest.mark.parametrize("name", CONFIGS)
def test_builds(name, built):
    """Classes, outputs and losses fit, the schedule ends where training does, one graph can test as the yaml says."""
    config = Config(CONFIGS[name])
    model, losses = built(config), Builder(config).build("loss")
    model.train()
    with paddle.no_grad():
        outputs = model(paddle.zeros([2, 3, 64, 64]))
    assert len(outputs) == len(losses["types"]) == len(losses["coef"])
    assert {output.shape[1] for output in outputs} == {config.num_classes}
    for section in (config.train_dataset_cfg, config.val_dataset_cfg):
        of_type = getattr(manager.DATASETS[section["type"]], "NUM_CLASSES", None)
        assert section.get("num_classes", of_type) == config.num_classes
    schedule = Builder(config).build("lr_scheduler")
    schedule.step(config.iters)
    assert schedule() == pytest.approx(0, abs=1e-9)
    InferenceOptions.from_dict(config.test_config).single_scale()


@pytest.mark.parametrize("name", CONFIGS)
def test_header_names_the_file(name):
    """The command in the header is that of this file, or the header says whose file this is."""
    head = "\n".join(takewhile(lambda line: line.startswith("#"), CONFIGS[name].read_text().splitlines()))
    assert f"configs/{name}" in head or head.startswith("# The name that PaddleSeg's README uses for")


@pytest.mark.parametrize("name", CONFIGS)
def test_paddleseg_reads_the_same(name):
    assert parse_from_yaml(str(CONFIGS[name])) == read_yaml(CONFIGS[name])


@pytest.mark.parametrize("name", cases())
def test_trains_evaluates_and_exports(name, data, tmp_path):
    config = Config(CONFIGS[name], opts=shrunk(CONFIGS[name], data))
    options = InferenceOptions.from_dict(config.test_config)
    builder = Builder(config)
    model = builder.build_untrained_model()
    sets = [builder.build_checked_dataset(section) for section in ("train_dataset", "val_dataset")]
    settings = TrainOptions(tmp_path / "train", config.iters, config.batch_size, test_config=options)
    settings.save_dir.mkdir()
    state = Trainer(model, builder.build("loss"), builder.build_optimizer(), *sets, settings).run()
    assert state.iteration == 2 and 0 <= state.best_miou < 1
    assert (settings.save_dir / "best_model" / "model.pdparams").is_file()

    folder = tmp_path / "exported"
    folder.mkdir()
    op = resolve_output_op(None, model.upsample)
    transforms, scale = config.val_dataset_cfg["transforms"], options.single_scale()
    report = export(model, op, EXPORTED, folder, config.num_classes, transforms, scale)
    assert report.agreement.is_good
    described = read_deploy_yaml(folder)
    assert described.output_op == ("vim" if config.dic["model"].get("upsample") == "vim" else "argmax")
    assert described.output_shape == [1, 64, 96] and described.num_classes == config.num_classes
    assert described.test_scale == scale and described.transforms == transforms


def losses_of_all():
    """Every different loss section."""
    found = {}
    for name, path in CONFIGS.items():
        found.setdefault(json.dumps(read_yaml(path)["loss"], sort_keys=True), name)
    return list(found.values())


@pytest.mark.parametrize("name", losses_of_all())
@pytest.mark.parametrize("labelled", [1.0, 0.3, 0.0])
def test_losses_take_any_batch(name, labelled):
    """PaddleSeg's losses in our loop: more pixels than `min_kept`, fewer, and none that is labelled."""
    losses = Builder(Config(CONFIGS[name])).build("loss")
    for loss in losses["types"]:
        if hasattr(loss, "min_kept"):
            loss.min_kept = 1000
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 11, (2, 40, 48))
    labels[rng.random(labels.shape) >= labelled] = 255
    outputs = [paddle.randn([2, 11, 40, 48]) for _ in losses["types"]]
    for output in outputs:
        output.stop_gradient = False
    terms = compute_losses(outputs, {"label": paddle.to_tensor(labels)}, losses)
    sum(terms[1:], terms[0]).backward()
    values = [float(term) for term in terms]
    assert all(value > 0 for value in values) if labelled else values == [0] * len(values)
    for output in outputs:
        reaches = output.grad.abs().sum(axis=1).numpy() > 0
        assert paddle.isfinite(output.grad).all() and not reaches[labels == 255].any()
        assert reaches[labels != 255].any() == bool(labelled)
