"""`paddleseg-ext convert_weights`, at PaddleSeg's path."""

import sys

from paddleseg_ext_tools.commands.convert_weights import main

if __name__ == "__main__":
    sys.exit(main())
