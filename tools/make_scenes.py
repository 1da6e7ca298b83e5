"""`paddleseg-ext make_scenes`, at PaddleSeg's path."""

import sys

from paddleseg_ext_tools.commands.make_scenes import main

if __name__ == "__main__":
    sys.exit(main())
