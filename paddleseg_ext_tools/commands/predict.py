"""Segments pictures: `python tools/predict.py --config configs/….yml --model_path ….pdparams --image_path …`."""

from __future__ import annotations

import argparse
from functools import partial
from typing import TYPE_CHECKING

from paddleseg_ext_runtime.output_ops import OUTPUT_OPS
from paddleseg_ext_tools.arguments import add_ignore_flag, add_test_flags, launch, new_parser, set_device, test_options

if TYPE_CHECKING:
    import numpy as np
    from paddle import nn

    from paddleseg_ext.core.inference import InferenceOptions
    from paddleseg_ext_runtime.segmenter import Run


def parse_args(argv: list[str] | None = None) -> argparse.Namespace:
    """The command line; exits with 2 when it is wrong."""
    parser = new_parser("Segment pictures with a trained model.")
    parser.add_argument("--model_path", required=True, help="trained weights (.pdparams or .pth, path or URL)")
    add_ignore_flag(parser, "--model_path")
    parser.add_argument("--image_path", required=True, help="a picture, a folder, or a text file of paths")
    parser.add_argument("--save_dir", default="./output/result", help="where the pictures go")
    parser.add_argument("--custom_color", nargs="+", type=int, help="R G B of class 0, of class 1, …")
    parser.add_argument("--device_id", type=int, default=0, help="which of several devices")
    parser.add_argument(
        "--output_op", choices=OUTPUT_OPS, help="predict as the export with this output op would, label for label"
    )
    parser.add_argument("--input_shape", nargs=4, type=int, help="the fixed input N C H W of that export")
    add_test_flags(parser, "aug_pred")
    return parser.parse_args(argv)


def main(argv: list[str] | None = None) -> int:
    """Runs the tool and returns its exit code."""
    return launch(predict, parse_args(argv))


def predict(args: argparse.Namespace) -> None:
    """Predicts at the resolution the config tests at, and writes overlays and coloured label maps."""
    from paddleseg_ext.core.inference import predict_scores
    from paddleseg_ext.export.static_graph import check_input_shape
    from paddleseg_ext.weights import load_weights
    from paddleseg_ext_runtime.command import writable_dir
    from paddleseg_ext_runtime.image_pipeline import ImagePipeline
    from paddleseg_ext_runtime.label_map import palette
    from paddleseg_ext_runtime.log import get_logger
    from paddleseg_ext_runtime.pictures import list_pictures
    from paddleseg_ext_runtime.prediction import Results, predict_pictures
    from paddleseg_ext_runtime.segmenter import Segmenter
    from paddleseg_ext_tools.lab.systems import Network

    network = Network(args.config, args.opts)
    config = network.config
    test_config = test_options(args, "aug_pred", config.test_config)
    pictures = list_pictures(args.image_path)
    colors = palette(args.custom_color)
    shape = check_input_shape(args.input_shape, config.in_channels)
    pipeline = ImagePipeline(network.transforms, shape)
    save_dir = writable_dir(args.save_dir)
    set_device(args.device, args.device_id)
    model = network.model
    load_weights(model, args.model_path, args.ignore)
    model.eval()
    if args.output_op:
        run = _exported(model, network.output_op(args.output_op), test_config)
    else:
        run = partial(predict_scores, model, config=test_config)
    segmenter = Segmenter(run, pipeline, config.in_channels)
    count = predict_pictures(segmenter, pictures, Results(save_dir, colors, has_overlays=True))
    get_logger().info("%d predictions are in %s", count, save_dir)


def _exported(model: nn.Layer, output_op: str, test_config: InferenceOptions) -> Run:
    """What the exported graph would give."""
    import paddle

    from paddleseg_ext.export.static_graph import with_output_op

    wrapped = None

    @paddle.no_grad()
    def run(x: np.ndarray) -> np.ndarray:
        nonlocal wrapped
        wrapped = wrapped or with_output_op(model, output_op, x, test_config.single_scale())
        return wrapped(paddle.to_tensor(x)).numpy()

    return run
