"""Converts checkpoints: `python tools/convert_weights.py --input topformer.pth --output model.pdparams`.

Takes mmsegmentation's PP-MobileSeg, the official TopFormer and the official SeaFormer, whole models or backbones, and
gives PaddleSeg's names; an --output that ends in .pth converts back. Torch need not be installed.
"""

from __future__ import annotations

import argparse

from paddleseg_ext_tools.arguments import add_ignore_flag, find_config, launch

ENDINGS = (".pdparams", ".pth", ".pt")


def parse_args(argv: list[str] | None = None) -> argparse.Namespace:
    """The command line; exits with 2 when it is wrong."""
    kept = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(description=__doc__, allow_abbrev=False, formatter_class=kept)
    parser.add_argument("--input", required=True, help="a torch checkpoint, or Paddle's to convert back (path or URL)")
    parser.add_argument(
        "--output", required=True, help="the file to write; its ending sets the format: .pdparams, .pth, .pt"
    )
    parser.add_argument("--config", help="the yaml of a model that every tensor must fit")
    parser.add_argument("--opts", nargs="+", help="override settings of the yaml: model.num_classes=19 …")
    add_ignore_flag(parser, "--input")
    args = parser.parse_args(argv)
    if not args.output.endswith(ENDINGS):
        parser.error(f"--output is {args.output}; it must end in one of {', '.join(ENDINGS)}")
    if args.opts and not args.config:
        parser.error("--opts is about --config, which is not given")
    return args


def main(argv: list[str] | None = None) -> int:
    """Runs the tool and returns its exit code."""
    return launch(convert_weights, parse_args(argv))


def convert_weights(args: argparse.Namespace) -> None:
    """Converts, checks against the config if there is one, and prints a summary."""
    from pathlib import Path

    from paddleseg_ext.cvlibs.config import Builder, Config
    from paddleseg_ext.weights.conversion import convert

    model = None
    if args.config:
        model = Builder(Config(find_config(args.config), opts=args.opts)).build_untrained_model()
    done = convert(args.input, Path(args.output), model, args.ignore)
    part = "the backbone" if done.is_backbone else "all"
    is_paddle = args.output.endswith(".pdparams")
    print(f"{args.output}: {part} of {done.project.name}, {len(done.tensors)} tensors")
    if done.counters:
        print(f"  {done.counters} num_batches_tracked {'dropped: Paddle has none' if is_paddle else 'added as 0'}")
    if done.unused:
        print(f"  dropped, of the ImageNet classifier: {', '.join(done.unused)}")
    for name, value in done.settings.items():
        print(f"  {name}: {value}, as the weights were trained; kept in the file")
    if args.config:
        print(f"  every tensor fits {args.config}")
