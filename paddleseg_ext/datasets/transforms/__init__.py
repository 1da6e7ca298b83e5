"""Transforms of training that PaddleSeg lacks, one file per transform, registered when this package is imported.

A transform is a class with `@register(TRANSFORMS)`: `__call__(data)` changes the dictionary `data` and returns it.
`data["img"]` is [H, W, C]; the label maps [H, W] are `data[field]` for each field of `data["gt_fields"]`. One import
line here makes it known to every config, under its class name.

A transform that images need at prediction too belongs to `paddleseg_ext_runtime/image_pipeline.py`.
"""
