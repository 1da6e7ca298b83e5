"""The training loop on a network small enough to know what it should do."""

import json

import numpy as np
import paddle
import pytest

from paddleseg_ext.core.checkpoint import recover, resume, save_folder, saved_iterations
from paddleseg_ext.core.inference import InferenceOptions, augmented_logits, network_logits, restore_size, window_logits
from paddleseg_ext.core.train import Trainer, TrainOptions, compute_losses, update_ema
from paddleseg_ext.models.base import SegmentationModel
from paddleseg_ext_runtime.errors import CheckpointError, ConfigError, NumericError


class Tiny(SegmentationModel):
    def __init__(self, **settings):
        super().__init__(num_classes=4, **settings)
        self.body = paddle.nn.Sequential(
            paddle.nn.Conv2D(3, 8, 3, stride=2, padding=1), paddle.nn.BatchNorm2D(8), paddle.nn.ReLU(),
            paddle.nn.Dropout2D(0.2), paddle.nn.Conv2D(8, 4, 1),
        )  # fmt: skip

    def logits(self, x):
        return self.body(x)


class Halves(paddle.io.Dataset):
    """Bright pixels are class 1, dark ones class 0."""

    num_classes, ignore_index = 4, 255

    def __init__(self, label=None):
        super().__init__()
        self.file_list = [("", "")] * 8
        self.label = label

    def __len__(self):
        return len(self.file_list)

    def __getitem__(self, index):
        rng = np.random.RandomState(index)
        label = np.repeat(np.repeat(rng.randint(0, 2, (4, 4)), 4, 0), 4, 1)
        image = (label + 0.1 * rng.randn(3, 16, 16)).astype("float32")
        label = label if self.label is None else np.full_like(label, self.label)
        return {"img": image, "label": label[None].astype("uint8"), "trans_info": []}


class Training(Halves):
    def __getitem__(self, index):
        sample = super().__getitem__(index)
        return {**sample, "label": sample["label"][0]}


def losses():
    return {"types": [paddle.nn.CrossEntropyLoss(axis=1, ignore_index=255)], "coef": [1.0]}


def trainer(folder, iters=12, val=True, learning_rate=0.05, dataset=None, model=None, loss=None, **options):
    paddle.seed(7)
    with paddle.utils.unique_name.guard():
        model = model or Tiny()
        schedule = paddle.optimizer.lr.PolynomialDecay(learning_rate, 12, end_lr=0.001)
        optimizer = paddle.optimizer.AdamW(schedule, parameters=model.parameters())
    options = TrainOptions(folder, iters, 2, save_interval=options.pop("save_interval", 4), log_iters=2, **options)
    folder.mkdir(parents=True, exist_ok=True)
    return Trainer(model, loss or losses(), optimizer, dataset or Training(), Halves() if val else None, options)


def weights(model):
    return {name: value.numpy() for name, value in model.state_dict().items()}


def same(a, b):
    return a.keys() == b.keys() and all(np.array_equal(a[name], b[name]) for name in a)


def test_it_learns_and_leaves_what_paddleseg_users_expect(tmp_path):
    state = trainer(
        tmp_path / "run", iters=40, save_interval=10, use_ema=True, use_vdl=True, keep_checkpoint_max=2
    ).run()
    folder = tmp_path / "run"
    assert state.best_miou > 0.9
    assert [path.name for path in saved_iterations(folder)] == ["iter_30", "iter_40"]
    for name in ("best_model/model.pdparams", "ema_best_model/ema_model.pdparams", "iter_40/model.pdopt"):
        assert (folder / name).is_file(), name
    assert list(folder.glob("vdlrecords.*.log"))
    rows = [json.loads(line) for line in (folder / "history.jsonl").read_text().splitlines()]
    assert [row["iter"] for row in rows if row["kind"] == "train"] == [1, *range(2, 41, 2)]
    assert rows[0]["loss"] > rows[-3]["loss"]
    assert not [path for path in folder.iterdir() if path.name.startswith(".")]


def test_a_resumed_run_ends_in_the_same_bits(tmp_path):
    whole = trainer(tmp_path / "whole", use_ema=True)
    whole.run()
    trainer(tmp_path / "part", iters=8, use_ema=True).run()
    resumed = trainer(tmp_path / "part", use_ema=True, resume_model=str(tmp_path / "part" / "iter_8"))
    state = resumed.run()
    assert same(weights(whole.model), weights(resumed.model))
    assert same(weights(whole.ema_model), weights(resumed.ema_model))
    assert state == whole.state


def test_a_resumed_run_knows_what_to_beat(tmp_path):
    run = trainer(tmp_path, iters=8)
    run.run()
    state = resume(tmp_path / "iter_8", run.model, run.optimizer, None)
    assert state.best_miou == run.state.best_miou and state.iteration == 8


def test_resuming_a_finished_run_ends_at_once(tmp_path):
    trainer(tmp_path, iters=4).run()
    assert trainer(tmp_path, iters=4, resume_model=str(tmp_path / "iter_4")).run().iteration == 4


def test_a_best_model_cannot_be_resumed_and_says_why(tmp_path):
    trainer(tmp_path, iters=4).run()
    with pytest.raises(CheckpointError, match=r"model\.pdopt is missing; give an iter_<n> folder"):
        trainer(tmp_path, resume_model=str(tmp_path / "best_model"))


def test_another_runs_folders_are_left_alone(tmp_path):
    for number in (10000, 20000):
        (tmp_path / f"iter_{number}").mkdir()
    trainer(tmp_path, iters=8, save_interval=2, keep_checkpoint_max=1).run()
    assert [path.name for path in saved_iterations(tmp_path)] == ["iter_8", "iter_10000", "iter_20000"]


def test_state_that_another_process_named_finds_its_parameters(tmp_path):
    """PaddleSeg's names follow the order in which its process built layers; the order here is another."""
    whole = trainer(tmp_path / "whole")
    whole.run()
    with paddle.utils.unique_name.guard():
        paddle.nn.Conv2D(1, 1, 1), paddle.nn.BatchNorm2D(2)
        model = Tiny()
        schedule = paddle.optimizer.lr.PolynomialDecay(0.05, 12, end_lr=0.001)
        optimizer = paddle.optimizer.AdamW(schedule, parameters=model.parameters())
        assert model.body[0].weight.name != whole.model.body[0].weight.name
        resume(tmp_path / "whole" / "iter_8", model, optimizer, None)
        model(paddle.randn([2, 3, 16, 16]))[0].mean().backward()
        optimizer.step()
    state, saved = optimizer.state_dict(), paddle.load(str(tmp_path / "whole" / "iter_8" / "model.pdopt"))
    kept = state[f"{model.body[0].weight.name}_beta1_pow_acc_0"]
    assert np.allclose(kept, saved[f"{whole.model.body[0].weight.name}_beta1_pow_acc_0"] * 0.9)


@pytest.mark.parametrize("kinds", [("AdamW", "Momentum"), ("Momentum", "AdamW")])
def test_another_optimizers_state_is_refused(tmp_path, kinds):
    models = [Tiny(), Tiny()]
    before, after = (
        getattr(paddle.optimizer, kind)(0.1, parameters=model.parameters())
        for kind, model in zip(kinds, models, strict=True)
    )
    models[0](paddle.randn([2, 3, 16, 16]))[0].mean().backward()
    before.step()
    save_folder(tmp_path / "iter_4", {"model.pdparams": models[0].state_dict(), "model.pdopt": before.state_dict()})
    with pytest.raises(CheckpointError, match=r"model\.pdopt is of another optimizer"):
        resume(tmp_path / "iter_4", models[1], after, None)


def test_a_parameter_that_is_never_used_does_not_hinder_resuming(tmp_path):
    class Partly(Tiny):
        def __init__(self):
            super().__init__()
            self.unused = paddle.nn.Conv2D(3, 3, 1)

    def run(**settings):
        paddle.seed(7)
        with paddle.utils.unique_name.guard():
            return trainer(tmp_path, model=Partly(), **settings)

    run(iters=4).run()
    assert run(iters=6, resume_model=str(tmp_path / "iter_4")).run().iteration == 6


def test_an_interrupted_replacement_is_undone(tmp_path):
    (tmp_path / ".best_model.being_replaced").mkdir()
    (tmp_path / ".best_model.being_replaced" / "w").touch()
    (tmp_path / ".iter_4.being_written").mkdir()
    recover(tmp_path)
    assert [path.name for path in tmp_path.rglob("*")] == ["best_model", "w"]


def test_a_folder_of_paddleseg_resumes_by_its_name(tmp_path):
    run = trainer(tmp_path, iters=4)
    run.run()
    (tmp_path / "iter_4" / "model.pdstates").unlink()
    assert resume(tmp_path / "iter_4", run.model, run.optimizer, None).iteration == 4
    (tmp_path / "iter_4").rename(tmp_path / "renamed")
    with pytest.raises(CheckpointError, match="cannot tell the iteration"):
        resume(tmp_path / "renamed", run.model, run.optimizer, None)


def test_a_loss_that_is_not_finite_stops_the_run_and_keeps_the_checkpoint(tmp_path):
    class Poisoned(paddle.nn.Layer):
        calls = 0

        def forward(self, logits, labels):
            self.calls += 1
            return logits.mean() * (float("nan") if self.calls == 6 else 1.0)

    run = trainer(tmp_path, loss={"types": [Poisoned()], "coef": [1.0]})
    with pytest.raises(NumericError, match="loss is nan at iteration 6"):
        run.run()
    assert [path.name for path in saved_iterations(tmp_path)] == ["iter_4"]
    assert all(np.isfinite(value).all() for value in weights(run.model).values())


def test_early_stop(tmp_path):
    run = trainer(tmp_path, iters=12, learning_rate=0.0, save_interval=1, early_stop_intervals=2)
    run.model.eval()
    assert run.run().iteration < 12


def test_each_iteration_moves_average_and_learning_rate(tmp_path):
    run = trainer(tmp_path, iters=3, use_ema=True, val=False)
    average, model = Tiny(), run.model
    average.set_state_dict(run.ema_model.state_dict())
    step, iterations = run._step, []

    def followed(batch):
        values = step(batch)
        iterations.append(run.state.iteration + 1)
        update_ema(average, model, iterations[-1])
        return values

    run._step = followed
    run.run()
    assert iterations == [1, 2, 3] and same(weights(average), weights(run.ema_model))
    rows = [json.loads(line) for line in (tmp_path / "history.jsonl").read_text().splitlines()]
    expected = {i: 0.001 + (0.05 - 0.001) * (1 - (i - 1) / 12) for i in (1, 2)}
    assert {row["iter"]: row["lr"] for row in rows} == pytest.approx(expected)


def test_moving_average(tmp_path):
    model, average = Tiny(), Tiny()
    before, current = weights(average), weights(model)
    update_ema(average, model, iteration=3)
    for name, value in weights(average).items():
        assert np.allclose(value, before[name] * 0.75 + current[name] * 0.25, atol=1e-6)
    for net in (model, average):
        net.register_buffer("count", paddle.zeros([1], "int64"))
    model.count += 5
    update_ema(average, model, iteration=3)
    assert average.count.item() == 5


@pytest.mark.parametrize("size", [(13, 16), (50, 193), (5, 4), (3, 3)])
def test_losses_at_a_lower_resolution_take_the_nearest_labels(size):
    class Recorder(paddle.nn.Layer):
        def forward(self, logits, labels):
            self.labels = labels
            return logits.mean()

    model, recorder = Tiny(loss_stride=4), Recorder()
    model.train()
    (output,) = model(paddle.randn([2, 3, *size]))
    rows, columns = (paddle.arange(n) for n in size)
    labels = (rows.unsqueeze(1) * 1000 + columns.unsqueeze(0)).expand([2, *size])
    compute_losses([output], {"label": labels}, {"types": [recorder], "coef": [1.0]})
    assert recorder.labels.shape == [2, *output.shape[2:]]
    for axis, length in enumerate(output.shape[2:]):
        taken = recorder.labels[0, :, 0] // 1000 if axis == 0 else recorder.labels[0, 0] % 1000
        centres = (np.arange(length) + 0.5) * size[axis] / length
        assert (np.abs(taken.numpy() + 0.5 - centres) <= 0.5 + 1e-6).all()


def test_a_batch_without_labels_costs_nothing():
    from paddleseg.models.losses import LovaszSoftmaxLoss

    logits = paddle.randn([1, 4, 8, 8])
    logits.stop_gradient = False
    labels = {"label": paddle.full([1, 8, 8], 255, "int64")}
    (term,) = compute_losses([logits], labels, {"types": [LovaszSoftmaxLoss()], "coef": [1.0]})
    term.backward()
    assert float(term) == 0 and float(logits.grad.abs().sum()) == 0


def test_losses_are_weighted():
    class Mean(paddle.nn.Layer):
        def forward(self, logits, labels):
            return logits.mean()

    outputs, labels = [paddle.ones([1, 2, 4, 4]), paddle.full([1, 2, 4, 4], 3.0)], {"label": paddle.zeros([1, 4, 4])}
    terms = compute_losses(outputs, labels, {"types": [Mean(), Mean()], "coef": [0.5, 2]})
    assert [float(term) for term in terms] == [0.5, 6.0]


def test_a_loss_that_is_no_number_is_refused():
    loss = {"types": [paddle.nn.CrossEntropyLoss(axis=1, reduction="none")], "coef": [1.0]}
    with pytest.raises(ConfigError, match="CrossEntropyLoss gives"):
        compute_losses([paddle.randn([1, 4, 8, 8])], {"label": paddle.zeros([1, 8, 8], "int64")}, loss)


def test_outputs_and_losses_must_match():
    with pytest.raises(ConfigError, match=r"gives 2 outputs in training but loss\.types has 1"):
        compute_losses([None, None], {}, losses())


def test_a_failed_save_leaves_the_previous_one(tmp_path):
    save_folder(tmp_path / "best", {"model.pdparams": {"w": paddle.ones([2])}})
    with pytest.raises(ConfigError, match="earlier checkpoints are untouched"):
        save_folder(
            tmp_path / "best", {"model.pdparams": {"w": paddle.zeros([2])}, "x" * 300: {"w": paddle.zeros([2])}}
        )
    assert paddle.load(str(tmp_path / "best" / "model.pdparams"))["w"].tolist() == [1, 1]
    assert [path.name for path in tmp_path.iterdir()] == ["best"]


def test_windows_and_flips_of_a_pointwise_network_change_nothing():
    class Pointwise(SegmentationModel):
        def __init__(self):
            super().__init__(num_classes=3)
            self.conv = paddle.nn.Conv2D(3, 3, 1)

        def logits(self, x):
            return self.conv(x)

    model, x = Pointwise(), paddle.randn([1, 3, 21, 34])
    expected = network_logits(model, x).numpy()
    windows = InferenceOptions.from_dict({"is_slide": True, "crop_size": [10, 8], "stride": [7, 5]})
    assert np.allclose(window_logits(model, x, windows).numpy(), expected, atol=1e-5)
    flips = InferenceOptions.from_dict({"aug_eval": True, "flip_horizontal": True, "flip_vertical": True})
    assert len(flips.flips) == 4
    assert np.allclose(augmented_logits(model, x, flips).numpy(), expected, atol=1e-5)
    both = InferenceOptions.from_dict(
        {"aug_eval": True, "scales": [1.0, 2.0], "is_slide": True, "crop_size": [64, 64], "stride": [64, 64]}
    )
    assert augmented_logits(model, x, both).shape == [1, 3, 21, 34]


def test_scales_and_windows_are_width_and_height():
    class Recorder(SegmentationModel):
        def __init__(self):
            super().__init__(num_classes=3)
            self.sizes = []

        def logits(self, x):
            self.sizes.append(x.shape[2:])
            return x

    model, x = Recorder(), paddle.zeros([1, 3, 20, 30])
    augmented_logits(model, x, InferenceOptions.from_dict({"aug_eval": True, "scales": [0.5, 2.0]}))
    assert model.sizes == [[10, 15], [40, 60]]
    model.sizes.clear()
    window_logits(model, x, InferenceOptions.from_dict({"is_slide": True, "crop_size": [16, 8], "stride": [16, 8]}))
    assert model.sizes == [[8, 16]] * 6


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"scales": [0]}, "positive"),
        ({"scales": []}, "positive"),
        ({"is_slide": True}, "needs crop_size and stride"),
        ({"is_slide": True, "crop_size": 512, "stride": [4, 4]}, "needs crop_size and stride"),
        ({"is_slide": True, "crop_size": [4, 4], "stride": [5, 4]}, "must lie between 1 and the crop size"),
    ],
)
def test_impossible_test_settings(settings, message):
    with pytest.raises(ConfigError, match=message):
        InferenceOptions.from_dict(settings)


def test_transforms_are_undone_in_reverse():
    logits = paddle.randn([1, 2, 32, 32])
    restored = restore_size(logits, [("resize", (10, 12)), ("padding", (20, 24))])
    assert restored.shape == [1, 2, 10, 12]
    expected = paddle.nn.functional.interpolate(logits[:, :, :20, :24], [10, 12], mode="bilinear")
    assert np.array_equal(restored.numpy(), expected.numpy())
