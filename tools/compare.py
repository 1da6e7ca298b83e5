"""`paddleseg-ext compare`, at PaddleSeg's path."""

import sys

from paddleseg_ext_tools.commands.compare import main

if __name__ == "__main__":
    sys.exit(main())
