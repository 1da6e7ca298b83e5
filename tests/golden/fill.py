"""Deterministic weights and inputs, so that golden logits need no stored weights.

`fill(state_dict)` gives every entry of a Paddle state dict a value that depends on nothing but its
name and shape; `image(height, width, batch)` does the same for an input. Two implementations whose
state dicts carry the same names and shapes therefore hold the same weights, and must produce the
same logits.
"""

import zlib

import numpy as np


def _rng(text):
    return np.random.RandomState(zlib.crc32(text.encode()) & 0x7FFFFFFF)


def fill(state_dict):
    """{name: array} -> {name: float32 array of the same shape}, by name and shape alone."""
    filled = {}
    for name, value in state_dict.items():
        shape = tuple(int(n) for n in value.shape)
        noise = _rng(f"{name}:{shape}").standard_normal(shape)
        if name.endswith("._variance"):
            new = 1.0 + np.abs(noise)
        elif name.endswith("._mean"):
            new = 0.1 * noise
        elif len(shape) == 1 and name.endswith(".weight"):
            new = 1.0 + 0.1 * noise
        elif len(shape) >= 2:
            # Attention logits stay small, so that no softmax saturates and amplifies rounding.
            gain = 0.1 if ".to_q." in name or ".to_k." in name else 2.0
            new = noise * np.sqrt(gain / max(int(np.prod(shape[1:])), 1))
        else:
            new = 0.05 * noise
        filled[name] = np.asarray(new, dtype="float32").reshape(shape)
    return filled


def image(height, width, batch=1):
    """A float32 image batch [batch, 3, height, width] in about the range of normalised photographs."""
    return _rng(f"image:{batch}x{height}x{width}").uniform(-2.0, 2.0, (batch, 3, height, width)).astype("float32")
