"""Backbones, registered with PaddleSeg's manager when this package is imported."""

from paddleseg_ext.models.backbones.strideformer import MobileSeg_Base, MobileSeg_Tiny, StrideFormer

__all__ = ["MobileSeg_Base", "MobileSeg_Tiny", "StrideFormer"]
