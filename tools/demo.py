"""`paddleseg-ext demo`, at PaddleSeg's path."""

import sys

from paddleseg_ext_tools.commands.demo import main

if __name__ == "__main__":
    sys.exit(main())
