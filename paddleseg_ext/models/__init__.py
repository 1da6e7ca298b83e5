"""Models, registered with PaddleSeg's manager when this package is imported."""

from paddleseg_ext.models import backbones
from paddleseg_ext.models.base import SegmentationModel
from paddleseg_ext.models.pp_mobileseg import PPMobileSeg

__all__ = ["PPMobileSeg", "SegmentationModel", "backbones"]
