"""Holds what differs between Paddle 2.6 and Paddle 3, one function per difference, each with its reason.

The networks, the losses and the training loop need nothing of this: they use what both versions have. Functions that
Paddle 3.2 and newer cannot trace into a `.pdmodel` have a file of their own, `export/old_operators.py`.
"""

from contextlib import AbstractContextManager, nullcontext
from typing import Any

import paddle
from paddle.base.proto import framework_pb2

_VAR_TYPE = framework_pb2.VarType
_FIELD = "dense_tensor" if "dense_tensor" in _VAR_TYPE.DESCRIPTOR.fields_by_name else "lod_tensor"
_DENSE_TENSOR = _VAR_TYPE.Type.Value(_FIELD.upper())


def tensor_desc(var: Any) -> Any:
    """The TensorDesc, with `data_type` and `dims`, of a VarDesc that holds a tensor.

    Paddle 3 renamed the field `lod_tensor` to `dense_tensor`. Its number, and so the bytes of the file, are the same.
    """
    return getattr(var.type, _FIELD).tensor


def is_tensor(var: Any) -> bool:
    """Whether a VarDesc holds a tensor. Paddle 3 renamed the type LOD_TENSOR to DENSE_TENSOR, with the same number."""
    return var.type.type == _DENSE_TENSOR


def old_program() -> AbstractContextManager:
    """Makes Paddle 3 trace and save the old program, a `.pdmodel`, inside the context.

    By default Paddle 3 writes its new representation, PIR, as `.json`, which Paddle-Lite and OpenVINO cannot read.
    Paddle 2.6 only has the old program.
    """
    return getattr(paddle.pir_utils, "OldIrGuard", nullcontext)()
