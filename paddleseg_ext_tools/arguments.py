"""Flags that several tools share. PaddleSeg's names, defaults and meaning."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from paddleseg_ext.core.inference import InferenceOptions

DEVICES = ("cpu", "gpu", "xpu", "npu", "mlu")

# Paddle's C++ code logs every executor it starts; set before it is loaded, unless the user wants to see it.
os.environ.setdefault("GLOG_minloglevel", "2")


def new_parser(description: str, device: bool = True) -> argparse.ArgumentParser:
    """A parser with `--config`, `--opts` and, unless the tool always works on the CPU, `--device`."""
    parser = argparse.ArgumentParser(description=description, allow_abbrev=False)
    parser.add_argument("--config", required=True, type=find_config, help="the yaml of the model")
    if device:
        parser.add_argument(
            "--device", default="gpu", choices=DEVICES, help="without the device: the CPU, with a warning"
        )
    parser.add_argument("--opts", nargs="+", help="override settings of the yaml: model.upsample=vim iters=100 …")
    return parser


def launch(function: Callable[..., object], *given: object) -> int:
    """Calls a tool's work with what it is `given` and returns its exit code; see `paddleseg_ext_runtime.command.run`.

    The library is imported here, after the command line was parsed: `--help` must not wait for paddle. A Python,
    numpy or OpenCV that it cannot work with is one line and exit code 2.
    """
    try:
        import paddleseg_ext  # noqa: F401  looks at the environment first
    except ImportError as error:
        # Compared by name: paddleseg_ext could not be imported, so its class is not available.
        if type(error).__name__ != "UnsuitableEnvironmentError":
            raise
        print(f"error: {error}", file=sys.stderr)
        return 2
    from paddleseg_ext_runtime.command import run

    return run(lambda: function(*given))


def add_ignore_flag(parser: argparse.ArgumentParser, what: str) -> None:
    """Adds `--ignore`: patterns of tensors in which `what` may differ from the network."""
    parser.add_argument(
        "--ignore", nargs="+", default=[], metavar="PATTERN",
        help=f"tensors of {what} to leave out, such as 'decode_head.conv_seg.*' for another number of classes",
    )  # fmt: skip


def add_test_flags(parser: argparse.ArgumentParser, switch: str) -> None:
    """Adds the flags of test-time augmentation; `switch` is `aug_eval` or `aug_pred`."""
    parser.add_argument(f"--{switch}", action="store_true", help="average over --scales and flips")
    parser.add_argument("--scales", nargs="+", type=float, help="scales of the image to average over; default 1.0")
    parser.add_argument("--flip_horizontal", action="store_true")
    parser.add_argument("--flip_vertical", action="store_true")
    parser.add_argument("--is_slide", action="store_true", help="infer by sliding window")
    parser.add_argument("--crop_size", nargs=2, type=int, metavar=("W", "H"), help="size of the window")
    parser.add_argument("--stride", nargs=2, type=int, metavar=("W", "H"), help="step of the window")
    parser.add_argument("--data_format", default="NCHW", choices=("NCHW",), help="kept for PaddleSeg's command lines")


def test_options(args: argparse.Namespace, switch: str, from_yaml: dict) -> InferenceOptions:
    """The yaml's `test_config`, overridden by the flags that were given. Raises ConfigError for what cannot work."""
    from paddleseg_ext.core.inference import InferenceOptions
    from paddleseg_ext_runtime.log import get_logger

    settings = dict(from_yaml)
    needs = {switch: ("scales", "flip_horizontal", "flip_vertical"), "is_slide": ("crop_size", "stride")}
    for needed, names in needs.items():
        for name in names:
            if getattr(args, name) not in (None, False) and not getattr(args, needed):
                get_logger().warning("--%s has no effect without --%s", name, needed)
    if getattr(args, switch):
        flips = {"flip_horizontal": args.flip_horizontal, "flip_vertical": args.flip_vertical}
        settings.update(aug_eval=True, scales=args.scales or [1.0], **flips)
        if not args.scales and from_yaml.get("aug_eval") and from_yaml.get("scales", 1.0) not in (1.0, [1.0]):
            get_logger().warning(
                "--%s without --scales tests at scale 1.0, the config at %s; add --scales to keep that",
                switch, from_yaml["scales"],
            )  # fmt: skip
    if args.is_slide:
        settings.update(is_slide=True, crop_size=args.crop_size, stride=args.stride)
    return InferenceOptions.from_dict(settings)


def find_config(path: str) -> Path:
    """`path` itself, or the shipped config of that name when no such file exists."""
    from paddleseg_ext_tools.paths import resource

    if not Path(path).exists() and path.startswith("configs/"):
        try:
            return resource(path)
        except FileNotFoundError:
            pass
    return Path(path)


def set_device(name: str, number: int | None = None) -> str:
    """Selects the device, or with several the numbered one; without any, the CPU with a warning. Returns its name."""
    import paddle

    from paddleseg_ext_runtime.log import get_logger

    available = {"gpu": paddle.is_compiled_with_cuda() and paddle.device.cuda.device_count() > 0, "cpu": True}
    if not available.get(name, name in paddle.device.get_all_custom_device_type()):
        get_logger().info("no %s here: using the CPU", name)
        name = "cpu"
    return paddle.set_device(name if number is None or name == "cpu" else f"{name}:{number}")
