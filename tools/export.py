"""`paddleseg-ext export`, at PaddleSeg's path."""

import sys

from paddleseg_ext_tools.commands.export import main

if __name__ == "__main__":
    sys.exit(main())
