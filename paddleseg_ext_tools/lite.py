"""The stages of `deploy/lite` for the tools: the one place that reaches into that folder.

It stands alone, so that it can be copied to the machine a phone hangs on, and its files import each other by bare
name. They do so here as well, from the folder that `resource` finds.
"""

from __future__ import annotations

import importlib
import sys
from types import ModuleType

from paddleseg_ext_tools.paths import resource


def lite(name: str) -> ModuleType:
    """The module `name` of deploy/lite: convert, device, judge, plan, reference, result, …"""
    folder = str(resource("deploy/lite/device.py").parent)
    if folder not in sys.path:
        sys.path.append(folder)
    return importlib.import_module(name)
