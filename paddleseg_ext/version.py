"""The version of paddleseg_ext, in the one place where setup.py and the package both read it."""

__version__ = "0.1.0"
