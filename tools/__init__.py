"""The command-line tools of paddleseg_ext, installed as the package `paddleseg_ext_tools`.

In a checkout they also run by path (`python tools/train.py ...`), so modules here import each other as
`paddleseg_ext_tools.<name>`, never by bare name.
"""
