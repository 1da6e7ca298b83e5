"""Lists of transforms that every implementation of the image pipeline is tested with."""

TRANSFORMS = {
    "nothing": [],
    "nearest": [{"type": "Resize", "target_size": [81, 33], "interp": "NEAREST"}],
    "cubic": [{"type": "Resize", "target_size": [90, 140], "interp": "CUBIC"}],
    "area": [{"type": "Resize", "target_size": [50, 30], "interp": "AREA"}],
    "lanczos": [{"type": "Resize", "target_size": [133, 99], "interp": "LANCZOS4"}],
    "keep ratio": [{"type": "Resize", "target_size": [101, 55], "keep_ratio": True}],
    "divisor": [{"type": "Resize", "target_size": [70, 41], "keep_ratio": False, "size_divisor": 16}],
    "rounds to even": [{"type": "Resize", "target_size": [50, 50], "keep_ratio": True}],
    "by long": [{"type": "ResizeByLong", "long_size": 83}],
    "by short": [{"type": "ResizeByShort", "short_size": 61}],
    "by short, bounded": [{"type": "ResizeByShort", "short_size": 61, "max_size": 70}],
    "limit, shrinks": [{"type": "LimitLong", "max_long": 60}],
    "limit, grows": [{"type": "LimitLong", "min_long": 140, "max_long": 300}],
    "limit, keeps": [{"type": "LimitLong", "min_long": 20, "max_long": 300}],
    "padding": [{"type": "Padding", "target_size": [210, 220], "im_padding_value": 30.5}],
    "aspect ratio": [{"type": "PaddingByAspectRatio", "aspect_ratio": 1.7, "label_padding_value": 3}],
    "several": [
        {"type": "ResizeByLong", "long_size": 83},
        {"type": "Padding", "target_size": [97, 91]},
        {"type": "Resize", "target_size": [64, 48]},
    ],
}  # fmt: skip
