from paddleseg_ext_tools.commands import benchmark_export

CONFIG = "configs/pp_mobileseg/pp_mobileseg_tiny_scenes_demo.yml"


def test_a_form_that_fails_stops_no_other(tmp_path, capsys):
    code = benchmark_export.main(
        ["--config", CONFIG, "--input_shape", "1", "3", "64", "64", "--warmup", "0", "--repeats", "1", "--images", "0",
         "--formats", "cpp", "onnxruntime", "--cpp", str(tmp_path / "nowhere"), "--save_dir", str(tmp_path / "out")]
    )  # fmt: skip
    said = capsys.readouterr()
    assert code == 6 and "1 of 3 rows failed or disagree: C++, Paddle Inference" in said.err
    assert "nowhere is not there; `make cpp` builds it" in said.out and "| ONNX Runtime | ✅ |" in said.out
