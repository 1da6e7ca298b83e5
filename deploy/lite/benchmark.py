#!/usr/bin/env python3
"""The command of `paddleseg_lite/benchmark.py`; `--help` lists its flags."""

import sys

from paddleseg_lite.benchmark import main

if __name__ == "__main__":
    sys.exit(main())
