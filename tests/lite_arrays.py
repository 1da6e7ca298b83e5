"""Paddle-Lite on numpy arrays."""

from dataclasses import replace

from paddleseg_lite.host import HostDevice
from paddleseg_lite.process import Deadline
from paddleseg_lite.runner import PaddleliteRunner
from paddleseg_lite.tensors import Tensor


def measure_array(nb_file, array, settings):
    """Runs an .nb file with the paddlelite wheel of this Python; the outputs are numpy arrays too."""
    got = PaddleliteRunner(HostDevice()).measure(nb_file, Tensor.of(array), settings, Deadline(settings.timeout_s))
    return replace(got, outputs=tuple(output.numpy() for output in got.outputs))
