#!/usr/bin/env python3
"""The command of `paddleseg_lite/gen_val_txt.py`; `--help` lists its flags."""

import sys

from paddleseg_lite.gen_val_txt import main

if __name__ == "__main__":
    sys.exit(main())
