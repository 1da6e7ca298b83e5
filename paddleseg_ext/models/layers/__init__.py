"""Blocks that two or more model families share. They know tensors and numbers, no configuration."""
