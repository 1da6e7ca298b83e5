"""One module per command, each with `main(argv) -> int` and the flags of PaddleSeg."""
