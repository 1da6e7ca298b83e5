"""Makes a small data set of drawn scenes: `python tools/make_scenes.py --save_dir data/scenes --layout ade20k`."""

from __future__ import annotations

import argparse

from paddleseg_ext_tools.arguments import launch

LAYOUTS = ("ade20k", "cityscapes", "camvid")


def parse_args(argv: list[str] | None = None) -> argparse.Namespace:
    """The command line; exits with 2 when it is wrong."""
    parser = argparse.ArgumentParser(description=__doc__, allow_abbrev=False)
    parser.add_argument("--save_dir", default="data/scenes", help="the folder to make")
    parser.add_argument("--layout", default="ade20k", choices=LAYOUTS, help="the data set whose layout it has")
    parser.add_argument("--train", type=int, default=240, help="training scenes")
    parser.add_argument("--val", type=int, default=60, help="validation scenes")
    parser.add_argument(
        "--size", nargs=2, type=int, metavar=("H", "W"),
        help="of every scene; default 256 256, for cityscapes 128 256, for camvid 180 240",
    )  # fmt: skip
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args(argv)
    if min(args.train, args.val, *(args.size or [1])) < 1 or args.seed < 0:
        parser.error("--train, --val and --size must be at least 1, --seed at least 0")
    return args


def main(argv: list[str] | None = None) -> int:
    """Runs the tool and returns its exit code."""
    return launch(make_scenes, parse_args(argv))


def make_scenes(args: argparse.Namespace) -> None:
    """Writes the data set, or leaves an existing equal one as it is."""
    from paddleseg_ext_runtime.errors import DataError
    from paddleseg_ext_tools.scenes import write_dataset

    try:
        write_dataset(args.save_dir, args.train, args.val, args.size, args.seed, layout=args.layout)
    except (ValueError, OSError) as error:
        raise DataError(str(error)) from error
    print(f"{args.save_dir}: {args.train} training and {args.val} validation scenes in the layout of {args.layout}")
