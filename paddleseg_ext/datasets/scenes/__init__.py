"""Procedural street and landscape scenes with ADE20K's label values: a small data set free of rights.

sprite.py, light.py and canvas.py paint; nature.py, buildings.py and traffic.py are the objects; world.py places
them, kinds.py composes the kinds of scene, writer.py writes the data set.
"""

from paddleseg_ext.datasets.scenes.kinds import make_scene, scene_kind
from paddleseg_ext.datasets.scenes.world import SCENE_CLASSES
from paddleseg_ext.datasets.scenes.writer import write_dataset

__all__ = ["SCENE_CLASSES", "make_scene", "scene_kind", "write_dataset"]
