"""MNN computes what the network does, with the sizes of Winograd convolutions that keep it exact."""

import paddle

from paddleseg_ext_tools.lab.forms import FORM, Counts
from paddleseg_ext_tools.lab.systems import Network, read_picture

CONFIG = "configs/pp_liteseg/pp_liteseg_stdc1_cityscapes_1024x512_scale1.0_160k.yml"


def test_logits_of_pp_liteseg(tmp_path):
    """With weights of the lab, at MNN's default sizes the error is 3e-3 to 9e-3; the golden weights do not show it."""
    network = Network(CONFIG, ["test_config=null"])
    x = network.normalised(read_picture(None, (192, 256)))
    network.make_weights(network.normalised(read_picture(None, (512, 512))))
    network.model.eval()
    network.export("decoder", x.shape, tmp_path)
    form = FORM["mnn"].of(tmp_path, tmp_path)
    form.prepare()
    with paddle.no_grad():
        expected = network.model.logits(paddle.to_tensor(x)).numpy()
    actual = form.measure(x, Counts(repeats=1, warmup=0)).outputs[0]
    assert abs(actual - expected).max() <= 1e-3 * expected.std()
