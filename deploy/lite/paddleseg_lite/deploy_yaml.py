"""Reader of the deploy.yaml that lies beside an exported model, without a yaml library.

It understands what exporters write there: nested mappings, block lists (also at their key's own
indentation), inline `[1, 3]` and `{type: Resize}`, comments, quotes. Anything else is an error, not a guess.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from paddleseg_lite.errors import DataError

_KEY = re.compile(r"""(?P<key>"[^"]*"|'[^']*'|[^\s\[\]{},"'#&*!|>%@`][^:#]*?)\s*:(?:\s+(?P<value>.*))?$""")
_FLOW_WORD = r"""[^\[\]{},:"']+(?::(?!\s)[^\[\]{},:"']*)*"""
_FLOW_TOKEN = re.compile(rf"""\s*([\[\]{{}},]|"[^"]*"|'[^']*'|:(?=\s)|{_FLOW_WORD})""")
Line = tuple  # (indentation, text, line number)


def read_deploy(path: Path) -> dict[str, Any]:
    """The mapping under the top key `Deploy`.

    Raises:
        DataError: the file cannot be read, is not understood, or has no `Deploy`.
    """
    try:
        tree = parse_yaml(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{path}: cannot be read ({error})") from error
    except ValueError as error:
        raise DataError(f"{path}: {error}", "the deploy.yaml written by tools/export.py") from error
    deploy = tree.get("Deploy") if isinstance(tree, dict) else None
    if not isinstance(deploy, dict):
        raise DataError(f"{path}: has no top key `Deploy`", "the deploy.yaml written by tools/export.py")
    return deploy


def parse_yaml(text: str) -> Any:
    """Mappings, lists and scalars of `text`; ValueError names the line that is not understood."""
    lines = []
    for number, raw in enumerate(text.splitlines(), start=1):
        content = _strip_comment(raw)
        if content.strip() and content.strip() != "---":
            lines.append((len(content) - len(content.lstrip(" ")), content.strip(), number))
    if not lines:
        return None
    value, rest = _block(lines, 0)
    if rest != len(lines):
        raise ValueError(f"line {lines[rest][2]} is not understood: {lines[rest][1]!r}")
    return value


def _strip_comment(line: str) -> str:
    match = re.match(r"""((?:"[^"]*"|'[^']*'|(?<!\s)#|[^#"'])*)""", line)
    return match.group(1).rstrip() if match else ""


def _is_item(text: str) -> bool:
    return text == "-" or text.startswith("- ")


def _block(lines: list[Line], at: int) -> tuple[Any, int]:
    return _list(lines, at) if _is_item(lines[at][1]) else _mapping(lines, at)


def _list(lines: list[Line], at: int) -> tuple[list, int]:
    indent, items = lines[at][0], []
    while at < len(lines) and lines[at][0] == indent and _is_item(lines[at][1]):
        text, number = lines[at][1][1:], lines[at][2]
        body = text.strip()
        if not body:
            value, at = _child(lines, at, indent + 1)
        elif _KEY.match(body):  # `- type: Resize`: a mapping that begins on the dash's line
            lines[at] = (indent + 1 + len(text) - len(text.lstrip()), body, number)
            value, at = _mapping(lines, at)
        else:
            value, at = _inline(body, number), at + 1
        items.append(value)
    return items, at


def _mapping(lines: list[Line], at: int) -> tuple[dict, int]:
    indent, result = lines[at][0], {}
    while at < len(lines) and lines[at][0] == indent and not _is_item(lines[at][1]):
        _, text, number = lines[at]
        match = _KEY.match(text)
        if not match:
            raise ValueError(f"line {number} is not `key: value`: {text!r}")
        key = _scalar(match["key"])
        if match["value"]:
            result[key], at = _inline(match["value"], number), at + 1
        else:
            is_list = at + 1 < len(lines) and _is_item(lines[at + 1][1])
            result[key], at = _child(lines, at, indent if is_list else indent + 1)
    return result, at


def _child(lines: list[Line], at: int, least_indent: int) -> tuple[Any, int]:
    if at + 1 < len(lines) and lines[at + 1][0] >= least_indent:
        return _block(lines, at + 1)
    return None, at + 1


def _inline(text: str, number: int) -> Any:
    if text[0] not in "[{":
        if text[0] in "&*!|>":
            raise ValueError(f"line {number} uses yaml this reader does not know: {text!r}")
        return _scalar(text)
    tokens = [token.strip() for token in _FLOW_TOKEN.findall(text)]
    try:
        value, end = _flow(tokens, 0)
    except IndexError:
        raise ValueError(f"line {number} has an unclosed bracket: {text!r}") from None
    if end != len(tokens):
        raise ValueError(f"line {number} has something after its bracket: {text!r}")
    return value


def _flow(tokens: list[str], at: int) -> tuple[Any, int]:
    if tokens[at] == "[":
        items, at = [], at + 1
        while tokens[at] != "]":
            value, at = _flow(tokens, at)
            items.append(value)
            at += tokens[at] == ","
        return items, at + 1
    if tokens[at] == "{":
        result, at = {}, at + 1
        while tokens[at] != "}":
            key = _scalar(tokens[at])
            if tokens[at + 1] != ":":
                raise ValueError(f"`{key}` has no value in an inline mapping")
            result[key], at = _flow(tokens, at + 2)
            at += tokens[at] == ","
        return result, at + 1
    return _scalar(tokens[at]), at + 1


def _scalar(text: str) -> Any:
    if text[0] in "\"'" and text[-1] == text[0]:
        return text[1:-1]
    if text in ("null", "Null", "NULL", "~"):
        return None
    if text.lower() in ("true", "false"):
        return text.lower() == "true"
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    return text
