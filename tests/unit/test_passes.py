import numpy as np
import paddle
import pytest
from paddle.nn import functional as F

from paddleseg_ext.export import passes
from paddleseg_ext.export.program import attribute, read_program, write_program
from paddleseg_ext.models.layers.attention import AxialPositionEmbedding
from paddleseg_ext_runtime.errors import ConversionError


class Net(paddle.nn.Layer):
    """One of everything that the passes look for."""

    def __init__(self):
        super().__init__()
        self.conv = paddle.nn.Conv2D(3, 4, 3, padding=1)
        self.position = AxialPositionEmbedding(4)

    def forward(self, x):
        x = paddle.nn.functional.relu6(self.conv(x))
        return self.position(x.mean(-1))


@pytest.fixture(scope="module", params=[False, True], ids=["keep_extra", "clip_extra"])
def exported(request, tmp_path_factory):
    folder = tmp_path_factory.mktemp("exported")
    net = Net()
    net.eval()
    spec = [paddle.static.InputSpec([1, 3, 24, 20], "float32", name="x")]
    static = paddle.jit.to_static(net, input_spec=spec, full_graph=True)
    paddle.jit.save(static, str(folder / "model"), clip_extra=request.param)
    x = paddle.randn([1, 3, 24, 20])
    return folder, x, net(x).numpy()


def run(program, folder, x):
    write_program(program, folder)
    return paddle.jit.load(str(folder / "model"))(x).numpy()


def test_reading_and_writing_changes_nothing(exported, tmp_path):
    folder, x, expected = exported
    program = read_program(folder)
    assert np.array_equal(run(program, tmp_path, x), expected)
    assert (tmp_path / "model.pdiparams").read_bytes() == (folder / "model.pdiparams").read_bytes()


def test_passes_keep_what_is_computed(exported, tmp_path):
    folder, x, expected = exported
    program = read_program(folder)
    before = program.operator_counts()
    assert before["linear_interp_v2"] == 1 and before["reshape2"] == 1
    changed = passes.optimise(program)
    assert changed["position embeddings folded"] == 1 and changed["convolution biases made fusible"] == 1
    after = program.operator_counts()
    assert after["linear_interp_v2"] == 0 and after["reshape2"] == 0
    assert np.allclose(run(program, tmp_path, x), expected, atol=1e-6)
    assert passes.optimise(program) == dict.fromkeys(changed, 0)


def test_what_was_folded_is_gone_and_paddles_notes_follow(exported, tmp_path):
    before = read_program(exported[0])
    after = read_program(exported[0])
    passes.optimise(after)
    write_program(after, tmp_path)
    again = read_program(tmp_path)
    assert again.params.keys() == again.info.keys() == after.params.keys()
    (gone,) = before.params.keys() - again.params.keys()
    assert before.params[gone].shape == (1, 4, 16)


def test_an_interpolation_of_the_other_kind_is_folded_as_it_is(tmp_path):
    class Other(Net):
        def forward(self, x):
            x = self.conv(x).mean(-1)
            size, mode = [x.shape[2]], "linear"
            stretched = F.interpolate(self.position.pos_embed, size, mode=mode, align_mode=1, data_format="NCW")
            return x + stretched

    net, x = Other(), paddle.randn([1, 3, 24, 20])
    net.eval()
    spec = [paddle.static.InputSpec([1, 3, 24, 20], "float32", name="x")]
    paddle.jit.save(
        paddle.jit.to_static(net, input_spec=spec, full_graph=True), str(tmp_path / "model"), clip_extra=False
    )
    program = read_program(tmp_path)
    assert passes.fold_constant_interpolation(program) == 1
    assert np.allclose(run(program, tmp_path, x), net(x).numpy(), atol=1e-6)


def test_every_relu6_has_a_threshold_for_opt(exported):
    program = read_program(exported[0])
    passes.optimise(program)
    (relu6,) = [op for op in program.operators() if op.type == "relu6"]
    assert attribute(relu6, "threshold").f == 6.0


def test_no_path_of_this_machine_is_left(exported, tmp_path):
    program = read_program(exported[0])
    passes.optimise(program)
    write_program(program, tmp_path)
    content = (tmp_path / "model.pdmodel").read_bytes()
    assert b"site-packages" not in content and b".py" not in content


def test_an_open_length_is_not_folded(tmp_path):
    net = Net()
    net.eval()
    spec = [paddle.static.InputSpec([1, 3, None, None], "float32", name="x")]
    static = paddle.jit.to_static(net, input_spec=spec, full_graph=True)
    paddle.jit.save(static, str(tmp_path / "model"), clip_extra=False)
    program = read_program(tmp_path)
    assert passes.fold_constant_interpolation(program) == 0
    for size in ([16, 24], [40, 8]):
        x = paddle.randn([1, 3, *size])
        assert np.allclose(run(program, tmp_path, x), net(x).numpy(), atol=1e-6)


def test_a_bias_used_twice_is_left_alone(exported):
    program = read_program(exported[0])
    add = next(op for op in program.operators() if op.type == "elementwise_add")
    program.desc.blocks[0].ops.append(add)
    assert passes.fuse_conv_bias(program) == 0


@pytest.mark.parametrize("name", ["model.pdmodel", "model.pdiparams"])
def test_a_damaged_export_is_named(exported, tmp_path, name):
    write_program(read_program(exported[0]), tmp_path)
    (tmp_path / name).write_bytes((tmp_path / name).read_bytes()[:-7])
    with pytest.raises(ConversionError, match=r"damaged|holds more"):
        read_program(tmp_path)
    (tmp_path / name).unlink()
    with pytest.raises(ConversionError, match="is missing"):
        read_program(tmp_path)


class Sized(paddle.nn.Layer):
    """Sizes as PaddleSeg's models compute them: from paddle.shape, as a vector, as numbers, with arithmetic."""

    def __init__(self, sizes):
        super().__init__()
        self.conv = paddle.nn.Conv2D(3, 4, 3, stride=2, padding=1)
        self.sizes = sizes

    def forward(self, x):
        y = self.conv(x)
        for size in self.sizes(x):
            y = F.interpolate(y, size, mode="bilinear")
        return y


def sizes_of(x):
    height, width = paddle.shape(x)[2:]
    return [paddle.shape(x)[2:], paddle.shape(x)[-2:] * 2, [height // 8, width - 3 + 1], x.shape[2:]]


def saved(net, shape, folder):
    net.eval()
    static = paddle.jit.to_static(
        net, input_spec=[paddle.static.InputSpec(shape, "float32", name="x")], full_graph=True
    )
    paddle.jit.save(static, str(folder / "model"), clip_extra=False)
    return read_program(folder)


@pytest.mark.parametrize("batch", [1, None])
def test_sizes_that_are_fixed_are_worked_out(batch, tmp_path):
    net, x = Sized(sizes_of), paddle.randn([1, 3, 24, 20])
    program = saved(net, [batch, 3, 24, 20], tmp_path)
    assert passes.optimise(program)["sizes fixed"] == 3
    sizes = [
        [attribute(op, "out_h").i, attribute(op, "out_w").i]
        for op in program.operators()
        if op.type == "bilinear_interp_v2"
    ]
    assert sizes == [[24, 20], [48, 40], [3, 18], [24, 20]]
    counts = program.operator_counts()
    assert not {"shape", "slice", "cast", "fill_constant"} & set(counts)
    assert counts["scale"] == 1  # what Paddle puts before an output
    assert np.array_equal(run(program, tmp_path, x), net(x).numpy())


def test_sizes_that_are_open_stay_computed(tmp_path):
    net = Sized(sizes_of)
    program = saved(net, [1, 3, 24, None], tmp_path)
    assert passes.optimise(program)["sizes fixed"] == 0
    for width in (20, 33):
        x = paddle.randn([1, 3, 24, width])
        assert np.array_equal(run(program, tmp_path, x), net(x).numpy())


def test_what_a_loop_changes_is_not_taken_for_fixed(tmp_path):
    class Looping(paddle.nn.Layer):
        def __init__(self):
            super().__init__()
            self.conv = paddle.nn.Conv2D(3, 4, 3, padding=1)

        def forward(self, x):
            height = paddle.shape(x)[2]
            while height > 5:
                height = height // 2
            return F.interpolate(self.conv(x), [height, 7], mode="bilinear")

    net, x = Looping(), paddle.randn([1, 3, 24, 20])
    program = saved(net, [1, 3, 24, 20], tmp_path)
    assert program.operator_counts()["while"] == 1
    passes.optimise(program)
    result = run(program, tmp_path, x)
    assert result.shape == (1, 4, 3, 7) and np.array_equal(result, net(x).numpy())


def test_a_batched_product_becomes_one_that_lite_has(tmp_path):
    class Product(Net):
        def forward(self, x):
            y = self.conv(x).flatten(2)
            return paddle.bmm(y, y.transpose([0, 2, 1]))

    net, x = Product(), paddle.randn([2, 3, 8, 6])
    program = saved(net, [2, 3, 8, 6], tmp_path)
    assert passes.optimise(program)["batched products renamed"] == 1
    counts = program.operator_counts()
    assert counts["matmul_v2"] == 1 and counts["bmm"] == 0
    assert np.allclose(run(program, tmp_path, x), net(x).numpy(), atol=1e-5)
