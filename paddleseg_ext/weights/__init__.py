"""Reading checkpoints without executing anything in them, and fitting them to models."""

from paddleseg_ext.weights.fitting import load_pretrained, load_weights
from paddleseg_ext.weights.pdparams import read_name_table, read_pdparams

__all__ = ["load_pretrained", "load_weights", "read_name_table", "read_pdparams"]
