"""`make golden` writes what is stored, from the PaddleSeg it is given."""

from pathlib import Path

import numpy as np
import paddleseg
import pytest
from golden.make_golden import main
from models.zoo import golden

CONFIG = Path(__file__).parents[2] / "configs/lraspp/lraspp_mobilenetv3_cityscapes_1024x512_80k.yml"
SITE = Path(paddleseg.__file__).parents[1]  # 2.8.0 has the same LR-ASPP as the development branch
VARIANT = "lraspp_mobilenetv3"


def read(folder, variant, monkeypatch):
    monkeypatch.setattr("models.zoo.GOLDEN", folder)
    return golden(variant)


def test_the_stored_file_is_reproduced(tmp_path, monkeypatch):
    stored = golden(VARIANT)
    main([VARIANT, str(SITE), "--save_dir", str(tmp_path)])
    made = read(tmp_path, VARIANT, monkeypatch)
    assert made["source"] == {"paddleseg": None}
    for key in ("model", "state_dict", "trainable"):
        assert made[key] == stored[key]
    for size, expected in stored["outputs"].items():
        actual = made["outputs"][size]
        assert actual["shape"] == expected["shape"]
        for key in ("mean", "std", "probes"):
            assert np.abs(np.subtract(actual[key], expected[key])).max() < 1e-4 * expected["std"]


def test_a_new_variant_comes_from_its_config(tmp_path, monkeypatch):
    main(["new", str(SITE), "--config", str(CONFIG), "--save_dir", str(tmp_path)])
    made = read(tmp_path, "new", monkeypatch)
    assert made["state_dict"] == golden_file_state(monkeypatch)
    assert all(len(output["probes"]) == 64 for output in made["outputs"].values()) and len(made["outputs"]) == 2


def golden_file_state(monkeypatch):
    monkeypatch.undo()
    return golden(VARIANT)["state_dict"]


def test_a_new_variant_without_config_is_refused(tmp_path, capsys):
    with pytest.raises(SystemExit):
        main(["new", str(SITE), "--save_dir", str(tmp_path)])
    assert "name the config" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        main(["new", str(tmp_path)])
    assert "name a checkout of PaddleSeg" in capsys.readouterr().err
