"""The output ops by name: what an exported graph computes from the decoder's logits.

They stand here because command lines need them before paddle is loaded. `paddleseg_ext.models.output_ops` implements
them.
"""

OUTPUT_OPS = {
    "argmax": "interpolates all classes, then takes the largest",
    "softmax": "interpolates all classes to probabilities",
    "none": "interpolates all classes to logits",
    "vim": "interpolates only the classes that win a decoder pixel",
    "vim_exact": "interpolates every class that can win after interpolation; equals argmax",
    "decoder": "logits at decoder resolution: the network without any output op",
}
LABEL_OPS = ("argmax", "vim", "vim_exact")  # they give int32 labels [B, H, W], the others float32 scores
