"""`paddleseg-ext infer_onnx_trt`, at PaddleSeg's path."""

import sys

from paddleseg_ext_tools.commands.infer_onnx_trt import main

if __name__ == "__main__":
    sys.exit(main())
