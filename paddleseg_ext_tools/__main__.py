"""`paddleseg-ext COMMAND [ARGS...]`: one entry for all tools, which each keep PaddleSeg's flags.

Imports nothing heavy: `paddleseg-ext --help` answers without loading paddle.
"""

from __future__ import annotations

import difflib
import importlib
import os
import subprocess
import sys

# A command is the module of that name in `commands`, with `main(argv) -> int`.
COMMANDS = {
    "train": "train a model from a config",
    "val": "evaluate a model: mIoU, accuracy, kappa",
    "predict": "segment images and save the pictures",
    "export": "write the static graph with an output op",
    "export_onnx": "the same, and model.onnx",
    "infer_onnx_trt": "export to ONNX and measure it, on a GPU where there is one",
    "benchmark_export": "one model in every form it can be deployed in, side by side",
    "convert_weights": "turn a torch project's .pth into .pdparams, and back",
    "compare": "parameters, multiply-adds, latency and mIoU of models, side by side",
    "make_scenes": "draw a data set in the layout of ADE20K, Cityscapes or CamVid",
    "demo": "all of it in five minutes, ending in one report",
}
# Scripts of deploy/, which are run as processes, with the place of each.
SCRIPTS = {
    "infer": ("python/infer.py", "segment photographs or a video with an exported model, by Paddle Inference"),
    "infer_onnx": ("python/infer_onnx.py", "the same by ONNX Runtime"),
    "serve": ("serving/server.py", "serve an exported model over HTTP, with a page for photographs"),
    "gen_val_txt": ("lite/gen_val_txt.py", "make image1.txt, the benchmark's input, from a picture"),
    "benchmark": ("lite/benchmark.py", "convert exported models for Paddle-Lite and measure them"),
}
USAGE_ERROR = 2


def main(argv: list[str] | None = None) -> int:
    """Run one command and return its exit code; 2 for an unknown command or an unsuitable environment."""
    args = sys.argv[1:] if argv is None else argv
    if not args:
        print(_help(), file=sys.stderr)
        return USAGE_ERROR
    command, rest = args[0], args[1:]
    if argv is None:
        sys.argv[0] = f"paddleseg-ext {command}"  # what argparse calls the program in its messages
    if command in ("-h", "--help", "help"):
        print(_help())
        return 0
    if command in ("-V", "--version"):
        from importlib import metadata

        print(f"paddleseg-ext {metadata.version('paddleseg-ext')}")
        return 0
    if command in SCRIPTS:
        return _script(command, rest)
    if command in COMMANDS:
        return importlib.import_module(f"paddleseg_ext_tools.commands.{command}").main(rest)
    near = difflib.get_close_matches(command, [*COMMANDS, *SCRIPTS], n=1)
    hint = f"did you mean `{near[0]}`?" if near else "see `paddleseg-ext --help`"
    print(f"paddleseg-ext: no command `{command}`; {hint}", file=sys.stderr)
    return USAGE_ERROR


def _script(name: str, argv: list[str]) -> int:
    """Run a script of deploy/ as a process: it imports its neighbours by bare name."""
    from paddleseg_ext_tools.paths import resource

    try:
        script = resource(f"deploy/{SCRIPTS[name][0]}")
    except FileNotFoundError as error:
        print(f"paddleseg-ext: {error}", file=sys.stderr)
        return USAGE_ERROR
    if name == "serve":  # replaces this process: a signal must reach the server, which needs time to end
        os.execv(sys.executable, [sys.executable, str(script), *argv])
    try:
        return subprocess.call([sys.executable, str(script), *argv])
    except KeyboardInterrupt:
        return 130


def _help() -> str:
    known = COMMANDS | {name: what for name, (_, what) in SCRIPTS.items()}
    commands = "\n".join(f"  {name:<17} {what}" for name, what in known.items())
    return (
        "usage: paddleseg-ext COMMAND [ARGS...]\n\n"
        f"{commands}\n\n"
        "`paddleseg-ext COMMAND --help` lists the flags of one command."
    )


if __name__ == "__main__":
    raise SystemExit(main())
