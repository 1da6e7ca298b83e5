"""Segments photographs or a video with an exported model.onnx, by ONNX Runtime.

    python deploy/python/infer_onnx.py --config output/inference_model --image_path photos --save_dir output/masks

The flags of `infer.py`. `--device gpu` takes TensorRT or CUDA where ONNX Runtime has them, and says what it took.
"""

import sys

from infer import ONNX, main

if __name__ == "__main__":
    sys.exit(main(engine=ONNX))
