"""Losses that PaddleSeg lacks, one file per loss, registered with PaddleSeg's manager when this package is imported.

A loss is a `paddle.nn.Layer` with `@register(LOSSES)`: `forward(logits, labels)` takes float32 [B, K, H, W] and int64
[B, H, W] and returns a scalar. It ignores the pixels whose label is its `ignore_index`. One import line here makes it
known to every config, under its class name.
"""

from paddleseg_ext.models.losses.cross_entropy import CrossEntropyLoss, DistillCrossEntropyLoss

__all__ = ["CrossEntropyLoss", "DistillCrossEntropyLoss"]
