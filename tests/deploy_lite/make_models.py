"""Exports two tiny models into a folder, with one input and the labels Paddle gives for it.

A script of its own: exporting needs source files, and the tests of deploy/lite stay free of paddle.
"""

from __future__ import annotations

import sys
import zlib  # noqa: F401  before paddle

import numpy as np
import paddle


class Tiny(paddle.nn.Layer):
    def __init__(self):
        super().__init__()
        self.conv = paddle.nn.Conv2D(3, 5, 3, padding=1, bias_attr=False)
        self.norm = paddle.nn.BatchNorm2D(5)

    def forward(self, x):
        features = paddle.nn.functional.relu6(self.norm(self.conv(x)))
        return paddle.argmax(features, axis=1, dtype="int32")


class Unsupported(Tiny):
    def forward(self, x):
        labels = paddle.argmax(self.conv(x), axis=1, dtype="int32")
        return paddle.take_along_axis(labels, labels * 0, axis=1)


def main(folder: str) -> None:
    paddle.seed(1)
    array = np.random.RandomState(0).randn(1, 3, 16, 24).astype("float32")
    np.save(f"{folder}/input.npy", array)
    spec = [paddle.static.InputSpec([1, 3, 16, 24], "float32")]
    for name, layer in (("tiny", Tiny()), ("unsupported", Unsupported())):
        layer.eval()
        paddle.jit.save(layer, f"{folder}/{name}/model", input_spec=spec, clip_extra=False)
        np.save(f"{folder}/{name}.npy", layer(paddle.to_tensor(array)).numpy())


if __name__ == "__main__":
    main(sys.argv[1])
