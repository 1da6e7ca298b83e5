"""Maps of odd height and width under Paddle-Lite, which takes from their sizes what Paddle is told by a scale."""

import paddle
import pytest
from models.zoo import filled, smooth_image

from paddleseg_ext.export.static_graph import export
from paddleseg_ext_runtime.runtimes import ModelProcess
from paddleseg_ext_tools.lab.forms import FORM

NORMALIZE = [{"type": "Normalize"}]
VARIANTS = ["pp_mobileseg_tiny"]
VARIANTS += [pytest.param(name, marks=pytest.mark.matrix) for name in ("topformer_tiny", "seaformer_tiny")]


@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize("size", [(72, 88), (131, 203)])  # at 1/8: 9x11, 17x26
def test_logits_of_odd_maps(variant, size, tmp_path):
    model = filled(variant)
    export(model, "decoder", [1, 3, *size], tmp_path, model.num_classes, NORMALIZE)
    form = FORM["lite_fp32"].of(tmp_path, tmp_path)
    form.prepare()
    x = smooth_image(*size)
    with paddle.no_grad():
        expected = model.logits(x).numpy()
    with ModelProcess("paddlelite", form.work) as process:
        actual = process.run(x.numpy())[0]
    assert abs(actual - expected).max() <= 1e-3 * expected.std()
