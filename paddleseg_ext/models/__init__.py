"""Models, registered with PaddleSeg's manager when this package is imported."""

from paddleseg_ext.models import backbones, losses
from paddleseg_ext.models.base import SegmentationModel
from paddleseg_ext.models.lraspp import LRASPP
from paddleseg_ext.models.mobileseg import MobileSeg
from paddleseg_ext.models.pp_liteseg import PPLiteSeg
from paddleseg_ext.models.pp_mobileseg import PPMobileSeg
from paddleseg_ext.models.seaformer import SeaFormerSeg
from paddleseg_ext.models.topformer import TopFormer

__all__ = [
    "LRASPP",
    "MobileSeg",
    "PPLiteSeg",
    "PPMobileSeg",
    "SeaFormerSeg",
    "SegmentationModel",
    "TopFormer",
    "backbones",
    "losses",
]
