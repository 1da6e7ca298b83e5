"""Which rows a command line asks for, and which systems they share."""

import pytest

from paddleseg_ext_runtime.errors import ConfigError
from paddleseg_ext_runtime.log import get_logger
from paddleseg_ext_tools.commands import compare
from paddleseg_ext_tools.comparison import rows as compare_rows
from paddleseg_ext_tools.comparison.published import Figures, load_catalogue

TINY = "configs/pp_mobileseg/pp_mobileseg_tiny_ade20k_512x512_80k.yml"
BASE = "configs/pp_mobileseg/pp_mobileseg_base_ade20k_512x512_80k.yml"


def plan(*argv):
    return compare_rows.plan(compare.parse_args(list(argv)), load_catalogue())


def test_the_default_is_both_published_tables():
    rows = plan()
    assert [row.name for row in rows if row.table == "sota"] == [
        "LR-ASPP", "MobileSeg-Base", "TopFormer-Base", "SeaFormer-Tiny", "PP-MobileSeg-Tiny", "SeaFormer-Base",
        "PP-MobileSeg-Base",
    ]  # fmt: skip
    assert [row.name for row in rows if row.table == "ablation"] == [
        "baseline", "+ VIM", "+ VIM + StrideFormer", "+ VIM + StrideFormer + AAM",
    ]  # fmt: skip
    ops = [row.system.output_op for row in rows]
    assert ops == ["argmax"] * 4 + ["vim", "argmax", "vim"] + ["argmax", "vim", "vim", "vim"]
    assert not any(row.system.failure for row in rows)


def test_rows_share_what_is_the_same_network():
    rows = {(row.table, row.name): row.system for row in plan()}
    assert rows["sota", "SeaFormer-Base"] is rows["ablation", "baseline"]
    assert rows["sota", "PP-MobileSeg-Base"] is rows["ablation", "+ VIM + StrideFormer + AAM"]
    systems = compare_rows.distinct(plan())
    assert len(systems) == 9 and len({system.slug for system in systems}) == 9
    decoders = compare_rows.decoders(systems)
    # SeaFormer-Base is there with argmax and with VIM.
    assert len(decoders) == 8 and {system.output_op for system in decoders.values()} == {"decoder"}


def test_a_decoder_that_is_compared_anyway_is_not_measured_twice():
    systems = compare_rows.distinct(plan("--config", TINY, "--output_op", "vim", "decoder"))
    (decoder,) = compare_rows.decoders(systems).values()
    assert decoder is systems[1]


def test_one_table():
    assert {row.table for row in plan("--table", "ablation")} == {"ablation"}


def test_given_configs():
    first, second = plan("--config", TINY, BASE)
    assert (first.name, first.reference) == ("PP-MobileSeg-Tiny, StrideFormer-Tiny, AAM, ADE20K", None)
    assert second.reference == first.name
    # As tools/export.py would export it; the published time is VIM's.
    assert first.system.output_op == "argmax" and first.published.latency_ms is None
    assert first.published.miou == {"single": 36.39}
    ops = plan("--config", TINY, BASE, "--output_op", "vim", "argmax")
    assert [row.system.output_op for row in ops] == ["vim", "argmax"] * 2
    assert [row.published.latency_ms for row in ops] == [215.3, None, 265.5, None]
    assert ops[3].reference == ops[1].name and ops[3].reference.endswith(", argmax")


def test_what_the_yaml_says_about_vim():
    (row,) = plan("--config", TINY, "--opts", "model.upsample=vim")
    assert row.system.output_op == "vim"


def test_a_config_that_cannot_be_read_fails_in_its_row(tmp_path):
    broken = tmp_path / "broken.yml"
    broken.write_text("model: {type: Nobody}\n")
    rows = plan("--config", str(tmp_path / "none.yml"), str(broken), TINY)
    assert "no config at" in rows[0].system.failure.message
    assert "Nobody" in rows[1].system.failure.message or "batch_size" in rows[1].system.failure.message
    assert rows[2].system.failure is None
    assert [row.system.failure.exit_code for row in rows[:2]] == [2, 2]
    assert compare.exit_code(rows) == 2


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ([f"{TINY}=w"], {4: "w"}),
        (["PP-MobileSeg-Tiny=w", "SeaFormer-Tiny=v"], {3: "v", 4: "w"}),
        (["pp_mobileseg_tiny_ade20k_512x512_80k=https://a/b?c=d"], {4: "https://a/b?c=d"}),
    ],
)
def test_weights_belong_to_rows(given, expected):
    rows = plan("--table", "sota", "--model_path", *given)
    assert {number: row.system.weights for number, row in enumerate(rows) if row.system.weights} == expected


def test_a_test_resolution_makes_another_system():
    halves = [f"configs/pp_liteseg/pp_liteseg_stdc1_cityscapes_1024x512_scale{scale}_160k.yml" for scale in (0.5, 0.75)]
    assert len(compare_rows.distinct(plan("--config", *halves))) == 2


def test_a_changed_network_has_no_published_figures(caplog, monkeypatch):
    monkeypatch.setattr(get_logger(), "propagate", True)
    config = TINY
    assert plan("--config", config)[0].published.miou["single"] == 36.39
    assert plan("--config", config, "--opts", "iters=10")[0].published.miou["single"] == 36.39
    assert not caplog.records
    assert plan("--config", config, "--opts", "model.head_use_dw=True")[0].published == Figures()
    assert "not the network whose figures were published" in caplog.text


def test_the_same_network_without_weights_is_pointed_out(caplog, monkeypatch):
    monkeypatch.setattr(get_logger(), "propagate", True)
    plan("--model_path", "SeaFormer-Base=w")
    # pytest listens to the logger itself as well where it was there before the test: each is recorded once or twice.
    said = dict.fromkeys(record.getMessage() for record in caplog.records)
    assert [text.partition(" but")[0] for text in said] == [
        "baseline is the network of SeaFormer-Base", "+ VIM is the network of SeaFormer-Base",
    ]  # fmt: skip


def test_weights_of_the_only_config_need_no_name():
    for path in ("a.pdparams", "https://a/b?c=d"):
        (row,) = plan("--config", TINY, "--model_path", path)
        assert row.system.weights == path


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (["--model_path", "w"], "name the config"),
        (["--model_path", "w", "v"], "each needs its config"),
        (["--config", TINY, "--model_path", "Tiny=w"], "Tiny is not compared; there are PP-MobileSeg-Tiny"),
    ],
)
def test_weights_of_nobody(argv, message):
    with pytest.raises(ConfigError, match=message):
        plan(*argv)


@pytest.mark.parametrize(
    "argv",
    [
        ["--table", "none"],
        ["--table", "sota", "--config", TINY],
        ["--rounds", "0"],
        ["--runtimes", "tvm"],
        ["--size", "8", "8"],
    ],
)
def test_a_wrong_command_line(argv, capsys):
    with pytest.raises(SystemExit) as stopped:
        compare.parse_args(argv)
    assert stopped.value.code == 2
