"""Trains a model from a config: `python tools/train.py --config configs/….yml --do_eval --use_vdl`."""

from __future__ import annotations

import argparse

from paddleseg_ext_tools.arguments import add_ignore_flag, launch, new_parser, set_device


def parse_args(argv: list[str] | None = None) -> argparse.Namespace:
    """The command line; exits with 2 when it is wrong."""
    parser = new_parser("Train a segmentation model.")
    parser.add_argument("--save_dir", default="./output", help="where checkpoints, history and VisualDL records go")
    parser.add_argument("--iters", type=int, help="iterations, instead of the yaml's")
    parser.add_argument("--batch_size", type=int, help="images per device and iteration, instead of the yaml's")
    parser.add_argument("--learning_rate", type=float, help="learning rate, instead of the yaml's")
    parser.add_argument("--do_eval", action="store_true", help="evaluate at every save and keep the best model")
    parser.add_argument("--save_interval", type=int, default=1000, help="iterations between saves and evaluations")
    parser.add_argument("--keep_checkpoint_max", type=int, default=5, help="iter_* folders to keep, 0: all")
    parser.add_argument("--early_stop_intervals", type=int, help="stop after this many evaluations without gain")
    parser.add_argument("--resume_model", help="an iter_<n> folder to continue from")
    add_ignore_flag(parser, "the yaml's pretrained weights")
    parser.add_argument("--log_iters", type=int, default=10, help="iterations between log lines")
    parser.add_argument("--use_vdl", action="store_true", help="write VisualDL records into --save_dir")
    parser.add_argument("--use_ema", action="store_true", help="keep a moving average of the weights as well")
    parser.add_argument("--num_workers", type=int, default=0, help="processes that read images; 0: a thread")
    parser.add_argument("--seed", type=int, help="seed of the weights, the order of the data and its augmentation")
    parser.add_argument("--precision", default="fp32", choices=("fp32", "fp16"), help="fp16: mixed precision, GPU only")
    parser.add_argument("--amp_level", default="O1", choices=("O1", "O2"), help="of mixed precision")
    parser.add_argument("--profiler_options", help="PaddleSeg's options of Paddle's profiler: 'batch_range=[10,20]'")
    parser.add_argument("--repeats", type=int, default=1, help="times the data set is repeated in an epoch")
    parser.add_argument("--data_format", default="NCHW", choices=("NCHW",), help="kept for PaddleSeg's command lines")
    args = parser.parse_args(argv)
    for name in ("save_interval", "log_iters", "repeats", "early_stop_intervals"):
        if getattr(args, name) is not None and getattr(args, name) < 1:
            parser.error(f"--{name} must be at least 1")
    if args.early_stop_intervals is not None and not args.do_eval:
        parser.error("--early_stop_intervals counts evaluations; it needs --do_eval")
    if args.ignore and args.resume_model:
        parser.error("--ignore is about pretrained weights; --resume_model goes on with all of a run's")
    if args.seed is not None and not 0 <= args.seed < 2**31:
        parser.error(f"--seed is {args.seed}; it must be from 0 to {2**31 - 1}")
    return args


def main(argv: list[str] | None = None) -> int:
    """Runs the tool and returns its exit code."""
    return launch(train, parse_args(argv))


def train(args: argparse.Namespace) -> None:
    """Builds everything that the config describes, the cheapest checks first, and trains."""
    import paddle

    from paddleseg_ext.core.distributed import common_seed
    from paddleseg_ext.core.inference import InferenceOptions
    from paddleseg_ext.core.train import Trainer, TrainOptions, check_precision
    from paddleseg_ext.cvlibs.config import Builder, Config
    from paddleseg_ext.weights import ignoring
    from paddleseg_ext_runtime.command import writable_dir
    from paddleseg_ext_runtime.log import get_logger

    config = Config(args.config, args.learning_rate, args.batch_size, args.iters, args.opts)
    test_config = InferenceOptions.from_dict(config.test_config)
    save_dir = writable_dir(args.save_dir)
    set_device(args.device)
    check_precision(args.precision)
    builder = Builder(config)
    train_dataset = builder.build_checked_dataset("train_dataset")
    val_dataset = builder.build_checked_dataset("val_dataset") if args.do_eval else None
    seed = common_seed(args.seed)
    if args.seed is None and args.resume_model is None:
        get_logger().info("seed %d; give --seed %d to repeat this run", seed, seed)
    paddle.seed(seed)
    # A checkpoint replaces the pretrained weights of the config, so they need not be fetched.
    with ignoring(args.ignore):
        model = builder.build_untrained_model() if args.resume_model else builder.build("model")
    options = TrainOptions(
        save_dir=save_dir, iters=config.iters, batch_size=config.batch_size, seed=seed, test_config=test_config,
        save_interval=args.save_interval, log_iters=args.log_iters, num_workers=args.num_workers,
        keep_checkpoint_max=args.keep_checkpoint_max, early_stop_intervals=args.early_stop_intervals,
        use_vdl=args.use_vdl, use_ema=args.use_ema, precision=args.precision, amp_level=args.amp_level,
        resume_model=args.resume_model, profiler_options=args.profiler_options, repeats=args.repeats,
    )  # fmt: skip
    Trainer(model, builder.build("loss"), builder.build_optimizer(), train_dataset, val_dataset, options).run()
