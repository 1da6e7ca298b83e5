"""Data sets, registered with PaddleSeg's manager when this package is imported."""

from paddleseg_ext.datasets import transforms
from paddleseg_ext.datasets.ade20k import ADE20K
from paddleseg_ext.datasets.cityscapes import Cityscapes
from paddleseg_ext.datasets.file_list import Dataset

__all__ = ["ADE20K", "Cityscapes", "Dataset", "transforms"]
