"""Generated street and landscape scenes with ADE20K's label values: small data sets without copyright.

sprite.py, light.py and canvas.py paint; nature.py, buildings.py and traffic.py draw the objects; world.py places
them; kinds.py composes the kinds of scene; layouts.py defines the files and the classes of a data set; writer.py
writes it.
"""

from paddleseg_ext_tools.scenes.kinds import make_scene, scene_kind
from paddleseg_ext_tools.scenes.layouts import LAYOUTS
from paddleseg_ext_tools.scenes.world import SCENE_CLASSES
from paddleseg_ext_tools.scenes.writer import write_dataset

__all__ = ["LAYOUTS", "SCENE_CLASSES", "make_scene", "scene_kind", "write_dataset"]
