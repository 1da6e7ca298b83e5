"""The times of day."""

from dataclasses import dataclass

import numpy as np

from paddleseg_ext_tools.scenes.sprite import Colour


@dataclass(frozen=True)
class Light:
    """One time of day: the sky from zenith to horizon, the tint of every surface, the haze."""

    name: str
    sky: tuple[tuple[float, float, float], ...]
    tint: tuple[float, float, float]
    cloud: tuple[float, float, float]
    sun: tuple[float, float, float]
    sun_height: float  # above the horizon, as a fraction of the sky; negative = no disc
    shadow: float  # 0 = none
    visibility_m: float
    lamps: float  # share of lit windows

    @property
    def haze(self) -> np.ndarray:
        """The colour that everything fades into: the colour of the sky at the horizon."""
        return np.asarray(self.sky[-1], np.float32)

    def keep(self, depth_m: float | np.ndarray) -> float | np.ndarray:
        """The share (0..1) of a colour that the haze leaves at this depth."""
        return np.exp(-np.asarray(depth_m, np.float32) / self.visibility_m)

    def lit(self, colour: Colour, depth_m: float = 0.0) -> np.ndarray:
        """`colour` [..., 3] under this light, faded into the haze over `depth_m`."""
        keep = self.keep(depth_m)
        tint = np.asarray(self.tint, np.float32)
        return np.asarray(colour, np.float32) * tint * keep + self.haze * (1 - keep)


LIGHTS = (
    Light("morning", sky=((112, 160, 214), (178, 205, 228), (244, 228, 206)), tint=(1.0, 0.95, 0.87),
          cloud=(255, 246, 235), sun=(255, 244, 214), sun_height=0.35, shadow=0.34, visibility_m=260,
          lamps=0.05),
    Light("noon", sky=((58, 124, 205), (118, 174, 228), (203, 226, 240)), tint=(1.04, 1.03, 1.0),
          cloud=(255, 255, 255), sun=(255, 255, 245), sun_height=0.8, shadow=0.42, visibility_m=420,
          lamps=0.0),
    Light("afternoon", sky=((84, 138, 200), (150, 186, 216), (232, 222, 200)), tint=(1.04, 0.98, 0.88),
          cloud=(255, 248, 236), sun=(255, 243, 205), sun_height=0.5, shadow=0.38, visibility_m=340,
          lamps=0.03),
    Light("sunset", sky=((74, 84, 142), (205, 130, 128), (252, 190, 128)), tint=(0.92, 0.74, 0.66),
          cloud=(250, 176, 150), sun=(255, 226, 160), sun_height=0.14, shadow=0.3, visibility_m=240,
          lamps=0.35),
    Light("overcast", sky=((150, 160, 172), (182, 190, 198), (214, 218, 220)), tint=(0.86, 0.88, 0.91),
          cloud=(228, 231, 235), sun=(230, 232, 235), sun_height=-1, shadow=0.15, visibility_m=200,
          lamps=0.1),
    Light("dusk", sky=((40, 52, 98), (92, 92, 138), (196, 148, 150)), tint=(0.62, 0.62, 0.75),
          cloud=(130, 116, 150), sun=(255, 220, 190), sun_height=-1, shadow=0.12, visibility_m=260,
          lamps=0.55),
)  # fmt: skip
LIGHT_SHARES = (0.18, 0.24, 0.22, 0.14, 0.14, 0.08)
