"""Issue-sized checks on trained weights: the output ops agree with each other and in every runtime, Base and Tiny."""

import argparse

import pytest
from pipeline.test_chain import CONFIG, ROOT, run

BASE = [
    "model.backbone.type=MobileSeg_Base",
    "model.backbone.inj_type=AAMSx8",
    "model.backbone.out_feat_chs=[64,128,192]",
]


@pytest.mark.matrix
@pytest.mark.timeout(1800)
@pytest.mark.parametrize(("name", "opts"), [("tiny", []), ("base", BASE)])
def test_output_ops_agree_on_trained_weights(name, opts, tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))
    import output_ops

    data = tmp_path / "data"
    run("tools/make_scenes.py", "--save_dir", data, "--train", 96, "--val", 8)
    opts = [f"train_dataset.dataset_root={data}", f"val_dataset.dataset_root={data}", *opts]
    train = [
        "tools/train.py",
        "--config",
        CONFIG,
        "--save_dir",
        tmp_path / "run",
        "--iters",
        120,
        "--do_eval",
        "--seed",
        1,
    ]
    run(*train, "--opts", *opts)
    figures = output_ops.measure(
        argparse.Namespace(
            config=str(ROOT / CONFIG), model_path=str(tmp_path / "run" / "best_model" / "model.pdparams"), opts=opts,
            images=None, repeats=10,
        ),
        tmp_path,
    )  # fmt: skip
    for op, row in figures["ops"].items():
        assert row["argmax"] == 1.0 if op != "vim" else row["argmax"] >= 0.999, op
        assert row["paddle_inference"] >= 0.9999 and row["lite"] >= 0.9999, op
    assert max(figures["ops"]["vim"]["kept"]) < 40
