"""`paddleseg-ext predict`, at PaddleSeg's path."""

import sys

from paddleseg_ext_tools.commands.predict import main

if __name__ == "__main__":
    sys.exit(main())
