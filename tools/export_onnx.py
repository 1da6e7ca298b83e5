"""`paddleseg-ext export_onnx`, at PaddleSeg's path."""

import sys

from paddleseg_ext_tools.commands.export_onnx import main

if __name__ == "__main__":
    sys.exit(main())
