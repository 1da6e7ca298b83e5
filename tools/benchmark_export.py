"""`paddleseg-ext benchmark_export`, at PaddleSeg's path."""

import sys

from paddleseg_ext_tools.commands.benchmark_export import main

if __name__ == "__main__":
    sys.exit(main())
