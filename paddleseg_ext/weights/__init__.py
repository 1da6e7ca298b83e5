"""Reading checkpoints without executing anything in them, and fitting them to networks."""

from paddleseg_ext.weights.fitting import load_pretrained, load_weights
from paddleseg_ext.weights.ignoring import ignoring
from paddleseg_ext.weights.pdparams import read_name_table, read_pdparams
from paddleseg_ext.weights.reading import SETTINGS_KEY
from paddleseg_ext.weights.settings import settings_of

__all__ = [
    "SETTINGS_KEY",
    "ignoring",
    "load_pretrained",
    "load_weights",
    "read_name_table",
    "read_pdparams",
    "settings_of",
]
