"""Makes the files beside it: `python make_files.py` where torch and mmengine are installed. No test runs it."""

import argparse
from collections import OrderedDict
from pathlib import Path

import numpy as np
import torch
from mmengine.config import Config, ConfigDict
from mmengine.logging import MessageHub

HERE = Path(__file__).parent


def ordinary():
    """The state dictionary of a small network, `_metadata` and all."""
    torch.manual_seed(0)
    model = torch.nn.Sequential(OrderedDict(conv=torch.nn.Conv2d(3, 4, 3), bn=torch.nn.BatchNorm2d(4)))
    model(torch.randn(2, 3, 8, 8))
    return model.state_dict()


def odd():
    """Every dtype, and tensors that are views, parameters, empty or scalar."""
    base = torch.arange(48, dtype=torch.float32).reshape(2, 3, 8) / 7
    state = {
        "transposed": base.permute(2, 0, 1),
        "sliced": base[1, :, 2:7:2],
        "tied": base,
        "expanded": torch.full((1, 3), 2.5).expand(4, 3),
        "half": torch.linspace(-3, 3, 7).half(),
        "bfloat16": torch.linspace(-3, 3, 7).bfloat16(),
        "double": torch.linspace(0, 1, 5, dtype=torch.float64),
        "parameter": torch.nn.Parameter(torch.ones(2, 2) / 3),
        "empty": torch.zeros(0, 3),
        "scalar": torch.tensor(7),
        "int32": torch.arange(3, dtype=torch.int32),
        "int16": torch.arange(3, dtype=torch.int16),
        "int8": torch.arange(-1, 2, dtype=torch.int8),
        "uint8": torch.arange(3, dtype=torch.uint8),
        "bool": torch.tensor([True, False]),
    }
    return {f"module.{name}": value for name, value in state.items()}


def values(state):
    return {
        name: (value.float() if value.is_floating_point() else value).detach().numpy() for name, value in state.items()
    }


def main():
    hub = MessageHub.get_instance("torch_files")
    hub.update_scalar("train/loss", 0.25)
    hub.update_info("iter", 80000)
    mmengine = {
        "meta": {"cfg": "model = dict()", "dataset_meta": {"classes": ("wall", "sky"), "palette": [[1, 2, 3]]}},
        "state_dict": ordinary(),
        "message_hub": hub.state_dict(),
        "optimizer": {"state": {0: {"exp_avg": torch.zeros(3)}}, "param_groups": [{"lr": np.float64(0.1)}]},
        "cfg": ConfigDict(a=1),
        "config": Config({"b": 2}),
    }
    timm = {"epoch": 3, "arch": "b", "args": argparse.Namespace(lr=0.1), "state_dict": {}, "state_dict_ema": ordinary()}
    old = {"legacy": {"_use_new_zipfile_serialization": False}, "zip": {}}
    for name, options in old.items():
        torch.save(ordinary(), HERE / f"{name}_bare.pth", **options)
        torch.save(mmengine, HERE / f"{name}_mmengine.pth", **options)
        torch.save(odd(), HERE / f"{name}_odd.pth", **options)
    torch.save(timm, HERE / "zip_timm.pth")
    torch.save({"model": ordinary()}, HERE / "zip_protocol4.pth", pickle_protocol=4)
    torch.save({"model": ordinary()}, HERE / "legacy_protocol4.pth", pickle_protocol=4, **old["legacy"])
    np.savez(HERE / "ordinary.npz", **values(ordinary()))
    double = {"module.double": odd()["module.double"].numpy()}
    np.savez(HERE / "odd.npz", **{k.removeprefix("module."): v for k, v in {**values(odd()), **double}.items()})


if __name__ == "__main__":
    main()
