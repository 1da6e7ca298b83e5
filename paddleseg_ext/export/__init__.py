"""From a network to files that other programs run: the static graph, the passes over it, ONNX, Triton."""
