"""Backbones, registered with PaddleSeg's manager when this package is imported."""

from paddleseg_ext.models.backbones.mobilenetv3 import MobileNetV3
from paddleseg_ext.models.backbones.seaformer import SeaFormer
from paddleseg_ext.models.backbones.stdcnet import STDC1, STDC2, STDCNet
from paddleseg_ext.models.backbones.strideformer import MobileSeg_Base, MobileSeg_Tiny, StrideFormer
from paddleseg_ext.models.backbones.top_transformer import TopTransformer

__all__ = [
    "STDC1",
    "STDC2",
    "MobileNetV3",
    "MobileSeg_Base",
    "MobileSeg_Tiny",
    "STDCNet",
    "SeaFormer",
    "StrideFormer",
    "TopTransformer",
]
