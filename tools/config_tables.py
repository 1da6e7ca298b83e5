"""`paddleseg-ext config_tables`, at PaddleSeg's path."""

import sys

from paddleseg_ext_tools.commands.config_tables import main

if __name__ == "__main__":
    sys.exit(main())
