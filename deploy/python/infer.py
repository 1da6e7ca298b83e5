"""Segments photographs or a video with an exported model, by Paddle Inference.

    python deploy/python/infer.py --config output/inference_model --image_path photos --save_dir output/masks

PaddleSeg's flags. `infer_onnx.py` is the same on ONNX Runtime.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from paddleseg_ext_runtime.command import run
from paddleseg_ext_runtime.flags import counted, positive, truth

PADDLE, ONNX = "paddle", "onnx"
WARMUP, REPEATS = 10, 50


def parse_args(argv: list[str] | None, engine: str) -> argparse.Namespace:
    """The command line; exits with 2 when it is wrong."""
    parser = argparse.ArgumentParser(description="Segment photographs or a video with an exported model.")
    parser.add_argument("--config", required=True, help="an exported folder, or its deploy.yaml")
    parser.add_argument("--image_path", required=True, help="a picture, a folder, a text file of paths, or a video")
    parser.add_argument("--save_dir", default="./output", help="where the label maps (or the video) go")
    parser.add_argument("--batch_size", type=counted(1), default=1, help="pictures of one size that are run together")
    parser.add_argument("--device", default="cpu", choices=("cpu", "gpu"))
    parser.add_argument("--cpu_threads", type=counted(1), default=1, help="of the runtime (1)")
    parser.add_argument("--custom_color", nargs="+", type=int, help="R G B of class 0, of class 1, …")
    parser.add_argument("--benchmark", type=truth, nargs="?", const=True, default=False, help="time each part")
    parser.add_argument(
        "--warmup", type=counted(0), help=f"uncounted runs of each batch; {WARMUP} with --benchmark, else 0"
    )
    parser.add_argument(
        "--repeats", type=counted(1), help=f"counted runs of each batch; {REPEATS} with --benchmark, else 1"
    )
    parser.add_argument("--timeout", type=positive, default=900.0, help="seconds a batch may take")
    parser.add_argument("--precision", choices=("fp32",), default="fp32", help="other ones need TensorRT")
    parser.add_argument("--use_trt", type=truth, nargs="?", const=True, default=False, help="refused; see the README")
    for name in ("--with_argmax", "--print_detail", "--model_name"):
        parser.add_argument(name, nargs="?", help="PaddleSeg's; without effect: deploy.yaml says what the graph gives")
    if engine == PADDLE:
        parser.add_argument(
            "--enable_mkldnn", type=truth, nargs="?", const=True, default=True,
            help="oneDNN, without the fusions that miscompute (True)",
        )  # fmt: skip
    args = parser.parse_args(argv)
    if args.use_trt:
        parser.error(
            "--use_trt: there is no TensorRT in Paddle Inference here; infer_onnx_trt.py takes it from ONNX Runtime"
        )
    return args


def main(argv: list[str] | None = None, engine: str = PADDLE) -> int:
    """Runs the script and returns its exit code."""
    args = parse_args(argv, engine)
    return run(lambda: infer(args, engine))


def infer(args: argparse.Namespace, engine: str) -> None:
    """Runs the model in a process of its own and writes what it gives at the size of the pictures."""
    from paddleseg_ext_runtime.command import writable_dir
    from paddleseg_ext_runtime.deploy_yaml import exported_folder, read_deploy_yaml
    from paddleseg_ext_runtime.label_map import palette
    from paddleseg_ext_runtime.log import get_logger
    from paddleseg_ext_runtime.pictures import list_pictures
    from paddleseg_ext_runtime.prediction import VIDEO_SUFFIXES, Results, predict_pictures, predict_video
    from paddleseg_ext_runtime.runtimes import ModelProcess
    from paddleseg_ext_runtime.segmenter import ExportedSegmenter, check_batch

    config, source = read_deploy_yaml(args.config), Path(args.image_path)
    folder = exported_folder(args.config)
    colors = palette(args.custom_color) if args.custom_color else config.colors()
    is_video = source.is_file() and source.suffix.lower() in VIDEO_SUFFIXES
    check_batch(config, args.batch_size)
    pictures = [] if is_video else list_pictures(source)
    save_dir = writable_dir(args.save_dir)
    counts = {
        "warmup": args.warmup if args.warmup is not None else WARMUP * args.benchmark,
        "repeats": args.repeats if args.repeats is not None else (REPEATS if args.benchmark else 1),
    }
    with ModelProcess(_runtime(args, engine), folder, args.cpu_threads, args.timeout, config) as process:
        if args.device == "gpu" and process.device == "cpu":
            get_logger().info("no gpu that %s can use: using the CPU", process.runtime)
        about = f"{process.runtime} {process.runtime_version} on {process.device}, {args.cpu_threads} threads"
        print(f"{about}: {folder}, {config.output_op}")
        segmenter = ExportedSegmenter(process, config, **counts)
        if is_video:
            target = save_dir / f"{source.stem}.mp4"
            print(f"{predict_video(segmenter, source, target, colors)} frames: {target}")
        else:
            count = predict_pictures(segmenter, pictures, Results(save_dir, colors), args.batch_size)
            print(f"{count} label maps: {save_dir}")
        if args.benchmark:
            print(segmenter.times.table())


def _runtime(args: argparse.Namespace, engine: str) -> str:
    """What runs the model."""
    from paddleseg_ext_runtime.runtimes import ENGINES

    runtime = ENGINES[engine]
    if args.device == "gpu" and (engine == ONNX or _has_gpu()):
        return f"{runtime}_gpu"
    return runtime if engine == ONNX or args.enable_mkldnn else f"{runtime}_native"


def _has_gpu() -> bool:
    import paddle

    return paddle.is_compiled_with_cuda() and paddle.device.cuda.device_count() > 0


if __name__ == "__main__":
    sys.exit(main())
