"""Mobile semantic segmentation on PaddlePaddle: from a PaddleSeg yaml to a measured latency.

Importing the package registers its models, backbones and datasets with PaddleSeg's component
managers, in place of PaddleSeg's own where the names are the same. It does nothing else.
"""

import zlib  # noqa: F401  paddle bundles a zlib that breaks Pillow's PNG codec unless Python's is loaded first

from paddleseg_ext.environment import check

check()

from paddleseg_ext import datasets, models  # noqa: E402  registration, after the environment is known to be sane
from paddleseg_ext.version import __version__  # noqa: E402

__all__ = ["__version__", "datasets", "models"]
