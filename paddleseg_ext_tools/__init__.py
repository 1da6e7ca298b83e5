"""The command-line tools of paddleseg_ext. The scripts in `tools/` are doors to `paddleseg_ext_tools.commands`."""
