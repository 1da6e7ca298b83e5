"""Exports model.onnx: `python tools/export_onnx.py --config configs/….yml --model_path ….pdparams --opset 13`.

`tools/export.py --onnx`, under the name that PaddleSeg's users look for.
"""

from __future__ import annotations

import sys

from paddleseg_ext_tools.commands import export


def main(argv: list[str] | None = None) -> int:
    """Runs the tool and returns its exit code."""
    return export.main(["--onnx", *(sys.argv[1:] if argv is None else argv)])
