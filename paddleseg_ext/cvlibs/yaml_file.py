"""Reads a PaddleSeg yaml: `_base_` files, `_inherited_: False`, and `--opts` on top.

Files merge as in PaddleSeg: dictionaries merge key by key, and every other value is replaced completely. If
several `_base_` files give a value, the first file in the list wins.
"""

import re
from ast import literal_eval
from pathlib import Path
from typing import Any

import yaml

from paddleseg_ext.cvlibs.suggestions import nearest
from paddleseg_ext_runtime.errors import ConfigError

_BASE = "_base_"
_INHERITED = "_inherited_"
_CONSTANTS = {"true": True, "false": False, "null": None, "none": None}


class _Loader(yaml.SafeLoader):
    """SafeLoader that reads 1e-4 as a number, not as text."""


_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float", re.compile(r"^[-+]?[0-9][0-9_]*(\.[0-9_]*)?[eE][-+]?[0-9]+$"), list("-+0123456789")
)


def read_yaml(path: str | Path, seen: tuple[Path, ...] = ()) -> dict[str, Any]:
    """The merged content of a yaml file and its bases. Raises ConfigError naming the file and the place."""
    path = Path(path)
    if path.suffix not in (".yml", ".yaml"):
        raise ConfigError(f"{path} is not a yaml file; --config takes a .yml")
    if path.resolve() in seen:
        chain = " -> ".join(str(item) for item in (*seen, path))
        raise ConfigError(f"_base_ goes round in a circle: {chain}")
    try:
        content = yaml.load(path.read_text(encoding="utf-8"), Loader=_Loader)  # noqa: S506  a SafeLoader
    except FileNotFoundError as error:
        raise ConfigError(f"no config at {path}{_similar_files(path)}") from error
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise ConfigError(f"cannot read {path}: {error}") from error
    if not isinstance(content, dict):
        raise ConfigError(f"{path} holds {type(content).__name__}, not a mapping of settings")
    bases = content.pop(_BASE, None) or []
    for base in [bases] if isinstance(bases, str) else bases:
        content = merge(content, read_yaml(path.parent / base, (*seen, path.resolve())))
    return _without_markers(content)


def merge(top: dict[str, Any], base: dict[str, Any]) -> dict[str, Any]:
    """`base` overridden by `top`; a dictionary in `top` with `_inherited_: False` replaces its base completely."""
    if top.get(_INHERITED) is False:
        return top
    merged = dict(base)
    for key, value in top.items():
        both = isinstance(value, dict) and isinstance(base.get(key), dict)
        merged[key] = merge(value, base[key]) if both else value
    return merged


def apply_opts(content: dict[str, Any], opts: list[str] | None) -> None:
    """Applies `--opts a.b=value …` in place. Lists are reached by index: `train_dataset.transforms.0.prob=0.3`.

    Every key except the last must exist; the last key is checked later, with the whole config. Raises ConfigError.
    """
    for item in opts or []:
        key, equals, text = item.partition("=")
        if not equals or not key:
            raise ConfigError(f"--opts takes key=value pairs such as model.upsample=vim, got {item!r}")
        *parents, last = key.split(".")
        node = content
        for done, parent in enumerate(parents):
            node = _child(node, parent, ".".join(parents[: done + 1]), item)
        if isinstance(node, list):
            _child(node, last, key, item)
            node[int(last)] = _value(text)
        elif isinstance(node, dict):
            node[last] = _value(text)
        else:
            raise ConfigError(f"--opts {item}: {'.'.join(parents)} is {node!r} and has no settings")


def _child(node: Any, key: str, path: str, item: str) -> Any:
    if isinstance(node, list):
        if key.isdigit() and int(key) < len(node):
            return node[int(key)]
        raise ConfigError(f"--opts {item}: {path} needs an index from 0 to {len(node) - 1}")
    if isinstance(node, dict) and key in node:
        return node[key]
    known = node if isinstance(node, dict) else ()
    raise ConfigError(f"--opts {item}: the config has no {path}{nearest(key, known)}")


def _value(text: str) -> Any:
    if text.lower() in _CONSTANTS:
        return _CONSTANTS[text.lower()]
    try:
        return literal_eval(text)
    except (ValueError, SyntaxError):
        return text


def _without_markers(value: Any) -> Any:
    """Drops `_inherited_`, which is not needed after the bases are merged."""
    if isinstance(value, dict):
        return {key: _without_markers(item) for key, item in value.items() if key != _INHERITED}
    if isinstance(value, list):
        return [_without_markers(item) for item in value]
    return value


def _similar_files(path: Path) -> str:
    if not path.parent.is_dir():
        return f"; the folder {path.parent} does not exist"
    return nearest(path.name, [item.name for item in path.parent.glob("*.y*ml")])
