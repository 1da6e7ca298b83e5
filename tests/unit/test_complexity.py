"""Counts against those measured with torch and Paddle on the original code, and against hand-counted graphs."""

import json
from pathlib import Path

import paddle
import pytest
from models.zoo import build, golden
from paddle import nn

from paddleseg_ext.export import passes
from paddleseg_ext.export.program import read_program
from paddleseg_ext.export.static_graph import export
from paddleseg_ext_runtime.errors import ConversionError
from paddleseg_ext_tools.lab.complexity import Complexity, explain, folded_parameters, measure_complexity, multiply_adds

# At 512x512 with 150 classes: trainable, batch norm statistics, multiply-adds of convolutions, of matrix products.
COUNTS = {
    "pp_mobileseg_base": (5_943_878, 52_544, 2_097_324_288, 811_008),
    "pp_mobileseg_tiny": (1_492_298, 23_600, 706_234_496, 270_336),
    "topformer_base": (5_062_646, 38_304, 1_745_911_808, 6_291_456),
    "topformer_small": (3_034_662, 29_504, 1_107_578_880, 4_718_592),
    "topformer_tiny": (1_389_654, 18_208, 530_964_480, 3_145_728),
    "seaformer_base": (8_605_654, 66_848, 1_756_504_064, 1_081_344),
    "seaformer_small": (3_990_118, 41_280, 1_030_266_880, 608_256),
    "seaformer_tiny": (1_667_318, 22_688, 562_298_880, 270_336),
    "seaformer_large": (13_951_510, 92_800, 6_336_995_328, 3_317_760),
}
ALWAYS = ("pp_mobileseg_tiny", "topformer_tiny")


def cases():
    return [pytest.param(name, marks=[] if name in ALWAYS else [pytest.mark.matrix]) for name in COUNTS]


@pytest.mark.parametrize("variant", cases())
def test_counts_of_the_published_models(variant):
    counted = measure_complexity(build(golden(variant)["model"]))
    assert (counted.trainable, counted.statistics, counted.conv_macs, counted.matmul_macs) == COUNTS[variant]
    assert counted.gflops == sum(COUNTS[variant][2:]) / 1e9
    # Position embeddings are stretched to the input; what the graph does not need goes.
    assert counted.folded < counted.trainable and abs(counted.deployed / counted.folded - 1) < 0.01


class Small(nn.Layer):
    """A strided grouped convolution with a norm, one with bias and norm, a norm by itself, two products of matrices."""

    def __init__(self):
        super().__init__()
        self.first = nn.Conv2D(4, 6, 3, stride=2, padding=1, groups=2, bias_attr=False)
        self.first_norm = nn.BatchNorm2D(6)
        self.second = nn.Conv2D(6, 8, 1)
        self.second_norm = nn.BatchNorm2D(8)
        self.up = nn.Conv2DTranspose(8, 5, 2, stride=2)
        self.norm_alone = nn.BatchNorm2D(5)
        self.unused = nn.Conv2D(3, 3, 1)

    def logits(self, x):
        x = self.second_norm(self.second(self.first_norm(self.first(x))))
        x = self.norm_alone(nn.functional.relu(self.up(x)))
        rows = x.reshape([1, 5, -1])
        weights = paddle.matmul(rows, rows, transpose_y=True)
        return paddle.matmul(weights, rows).reshape([1, 5, 8, 12])


def test_hand_counted_graph():
    model = Small()
    counted = measure_complexity(model, (8, 12), in_channels=4)
    first, second, up = 6 * 4 * 6 * (2 * 9), 8 * 4 * 6 * 6, 8 * 4 * 6 * (5 * 2 * 2)
    assert counted.conv_macs == first + second + up
    assert counted.matmul_macs == 2 * 5 * 5 * (8 * 12)
    kernels = 6 * 2 * 9 + 8 * 6 + 8 * 5 * 4
    # A bias for the first, the second's own, the transposed one's, and a scale and a shift.
    assert counted.folded == counted.deployed == kernels + 6 + 8 + 5 + 2 * 5
    assert counted.statistics == 2 * (6 + 8 + 5)
    assert counted.trainable == kernels + 8 + 5 + counted.statistics + 12
    assert counted.size == (8, 12)


def test_a_graph_of_open_size_has_no_number(tmp_path):
    export(build(golden("pp_mobileseg_tiny")["model"]), "decoder", [None, 3, None, None], tmp_path, 150)
    with pytest.raises(ConversionError, match="open size"):
        multiply_adds(read_program(tmp_path))


def test_an_exported_folder_holds_what_is_counted(tmp_path):
    model = build(golden("topformer_tiny")["model"])
    export(model, "vim", [1, 3, 64, 64], tmp_path, 150)
    program = read_program(tmp_path)
    counted = measure_complexity(model, (64, 64))
    assert multiply_adds(program) == (counted.conv_macs, counted.matmul_macs)
    # The output op brings no parameters.
    assert folded_parameters(program) == counted.deployed
    passes.optimise(program)
    assert folded_parameters(program) == counted.deployed


EVERYTHING, FOLDED = "trainable and batch norm statistics", "batch norms folded"
DEPLOYED, MEBI = f"{FOLDED}, position embeddings stretched", "in units of 2^20"
RULES = {
    "pp_mobileseg/pp_mobileseg_base_ade20k_512x512_80k.yml": f"{DEPLOYED}, {MEBI}",
    "pp_mobileseg/pp_mobileseg_tiny_ade20k_512x512_80k.yml": f"{EVERYTHING}, {MEBI}, cut off",
    "pp_mobileseg/pp_mobileseg_base_cityscapes_1024x512_80k.yml": f"{EVERYTHING}, {MEBI}, cut off",
    "ablation/baseline_seaformer_base_ade20k_512x512_160k.yml": f"{EVERYTHING}, {MEBI}",
    "ablation/vim_seaformer_base_ade20k_512x512_160k.yml": f"{FOLDED}, {MEBI}, cut off",
    "ablation/vim_strideformer_base_ade20k_512x512_80k.yml": f"{DEPLOYED}, {MEBI}",
    "ablation/vim_strideformer_aam_base_ade20k_512x512_80k.yml": f"{DEPLOYED}, {MEBI}",
    "seaformer/seaformer_tiny_ade20k_512x512_160k.yml": f"{EVERYTHING}, {MEBI}",
    "seaformer/seaformer_base_ade20k_512x512_160k.yml": "trainable and running means, in units of 10^6",
    "topformer/topformer_tiny_ade20k_512x512_160k.yml": f"{EVERYTHING}, in units of 10^6",
    "topformer/topformer_base_ade20k_512x512_160k.yml": None,
    "mobileseg/mobileseg_mobilenetv3_ade20k_512x512_160k.yml": f"trainable, {MEBI}",
    "lraspp/lraspp_mobilenetv3_ade20k_512x512_160k_os32.yml": None,
}


def test_which_rule_gives_which_printed_number():
    from paddleseg_ext_tools.comparison.published import load_catalogue

    counts = json.loads((Path(__file__).parents[2] / "configs" / "computed.json").read_text())["configs"]
    catalogue = load_catalogue()
    printed = {path: entry.figures.params for path, entry in catalogue.configs.items() if entry.figures.params}
    found = {}
    for path, params in printed.items():
        numbers = {key: value for key, value in counts[path].items() if key != "model"}
        found[path] = explain(params, Complexity(**numbers))
    assert found == RULES
