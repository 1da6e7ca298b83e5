"""Reads JSON exactly as RFC 8259 defines it, from clients that may be hostile."""

import json
from typing import Any, NoReturn

from limits import Limits, Refusal

# Python needs about 60 bytes for each list or object, which is 2 bytes in the JSON.
_MAX_CONTAINERS = 100_000


def loads(data: bytes | bytearray, limits: Limits) -> Any:
    """The value that `data` writes, in UTF-8.

    Raises Refusal: 413 when it is too long or would take too much memory, 400 when it is not JSON, nests too deeply,
    names a key twice, or holds NaN, Infinity or an integer of thousands of digits.
    """
    if len(data) > limits.json_bytes:
        raise Refusal(413, f"the JSON is longer than {limits.json_bytes} bytes; send binary tensors")
    # Strings may contain these characters too, but no honest request contains so many.
    if data.count(b"[") + data.count(b"{") > _MAX_CONTAINERS:
        raise Refusal(413, f"the JSON holds more than {_MAX_CONTAINERS} lists and objects")
    if data.count(b",") > limits.json_elements + _MAX_CONTAINERS:
        raise Refusal(413, f"the JSON holds more than {limits.json_elements} elements; send binary tensors")
    try:
        return json.loads(data.decode("utf-8"), object_pairs_hook=_unique, parse_constant=_refuse_constant)
    except UnicodeDecodeError as error:
        raise Refusal(400, "the JSON is not UTF-8") from error
    except RecursionError as error:
        raise Refusal(400, "the JSON nests too deeply") from error
    except json.JSONDecodeError as error:
        raise Refusal(400, f"not JSON: {error.msg} at byte {error.pos}") from error
    except ValueError as error:  # Python's own limit on digits
        raise Refusal(400, "the JSON holds a number with too many digits") from error


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise Refusal(400, "the JSON has an object that names a key twice")
    return found


def _refuse_constant(name: str) -> NoReturn:
    raise Refusal(400, f"the JSON holds {name}, which JSON has no number for")
