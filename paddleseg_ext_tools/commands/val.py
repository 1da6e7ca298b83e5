"""Evaluates a model on its validation set: `python tools/val.py --config configs/….yml --model_path ….pdparams`."""

from __future__ import annotations

import argparse

from paddleseg_ext_tools.arguments import add_ignore_flag, add_test_flags, launch, new_parser, set_device, test_options


def parse_args(argv: list[str] | None = None) -> argparse.Namespace:
    """The command line; exits with 2 when it is wrong."""
    parser = new_parser("Evaluate a segmentation model.")
    parser.add_argument("--model_path", help="weights to evaluate (.pdparams or .pth, path or URL)")
    add_ignore_flag(parser, "--model_path")
    parser.add_argument("--num_workers", type=int, default=0, help="threads that read ahead")
    parser.add_argument("--save_json", help="also write the metrics and the confusion matrix to this file")
    add_test_flags(parser, "aug_eval")
    args = parser.parse_args(argv)
    if args.ignore and not args.model_path:
        parser.error("--ignore is about --model_path, which is not given")
    return args


def main(argv: list[str] | None = None) -> int:
    """Runs the tool and returns its exit code."""
    return launch(val, parse_args(argv))


def val(args: argparse.Namespace) -> None:
    """Builds data set and model, evaluates, prints a table of the classes present."""
    import json
    from pathlib import Path

    from paddleseg_ext.core.distributed import join
    from paddleseg_ext.core.val import evaluate
    from paddleseg_ext_runtime.command import writable_dir
    from paddleseg_ext_tools.lab.systems import Network

    network = Network(args.config, args.opts)
    config = network.config
    test_config = test_options(args, "aug_eval", config.test_config)
    if args.save_json:
        writable_dir(Path(args.save_json).parent)
    set_device(args.device)
    dataset = network.builder.build_checked_dataset("val_dataset")
    network.load(args.model_path, otherwise="evaluating random weights", ignore=args.ignore)
    metrics = evaluate(network.model, dataset, test_config, args.num_workers)
    if not join().is_first:
        return
    print(f"[EVAL] #Images: {len(dataset)}, {metrics.summary()}")
    names = config.class_names
    print(f"{'class':>6} {'IoU':>8} {'precision':>10} {'recall':>8}")
    for index in metrics.present.nonzero()[0]:
        scores = metrics.class_iou[index], metrics.class_precision[index], metrics.class_recall[index]
        name = f"  {names[index]}" if names else ""
        print(f"{index:>6} {scores[0]:>8.4f} {scores[1]:>10.4f} {scores[2]:>8.4f}{name}")
    if args.save_json:
        Path(args.save_json).write_text(json.dumps(metrics.to_dict()), encoding="utf-8")
