"""Reads what `torch.save` wrote (.pth), zip or legacy format, without torch and without executing anything in it.

Only rebuilt tensors are understood. What mmcv, mmengine and timm keep beside the weights (optimizer, schedules,
log history) is skipped as data; a file that calls, or names, anything that training does not need is refused.
"""

import io
import math
import mmap
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from paddleseg_ext.errors import CheckpointError
from paddleseg_ext.weights.pickle_tree import Call, Entries, Name, Persistent, Tree, UnsafePickle, entries

LEGACY_MAGIC = b"\x8a\x0al\xfc\x9cF\xf9 j\xa8P\x19."  # 0x1950a86a20f9469cfc6c, pickled, after its protocol
_DTYPES = {
    "Double": "f8", "Float": "f4", "Half": "f2", "BFloat16": "u2", "Long": "i8", "Int": "i4", "Short": "i2",
    "Char": "i1", "Byte": "u1", "Bool": "?",
}  # fmt: skip
_STORAGES = {f"torch.{name}Storage": name for name in _DTYPES}
_TENSOR = {"torch._utils._rebuild_tensor_v2", "torch._utils._rebuild_tensor"}
_PARAMETER = {"torch._utils._rebuild_parameter", "torch._utils._rebuild_parameter_with_state"}
# What real training checkpoints call beside the weights; nobody does here.
_CALLS = _TENSOR | _PARAMETER | {
    "torch.Size", "torch.device", "collections.OrderedDict", "collections.defaultdict", "collections.deque",
    "collections.Counter", "numpy.core.multiarray._reconstruct", "numpy.core.multiarray.scalar",
    "numpy._core.multiarray._reconstruct", "numpy._core.multiarray.scalar", "numpy.dtype", "_codecs.encode",
    "copyreg._reconstructor", "datetime.datetime", "datetime.timedelta", "pathlib.PosixPath", "pathlib.WindowsPath",
    "mmengine.config.config.ConfigDict", "mmcv.utils.config.ConfigDict",
}  # fmt: skip
_CALLS |= {f"builtins.{name}" for name in ("set", "frozenset", "slice", "complex", "bytearray", "range")}
# Packages whose names may stand in a file, to be instantiated or not; they are never looked up.
_PACKAGES = {"torch", "numpy", "collections", "mmengine", "mmcv", "mmseg", "mmcls", "mmpretrain", "timm", "argparse"}
_NAMES = _CALLS | {f"builtins.{name}" for name in ("object", "dict", "list", "tuple", "int", "float", "str", "bool")}
_GETATTR, _HISTORY = "builtins.getattr", "mmengine.logging.history_buffer.HistoryBuffer"
_STATE_KEYS = ("state_dict_ema", "state_dict", "model")  # in the order in which the three projects look for them


def read_torch(path: str | Path) -> dict[str, np.ndarray]:
    """The tensors of a checkpoint by name, half precision as float32; without `state_dict`, `module.` around them.

    Raises CheckpointError when the file is missing or damaged, holds no tensors, or asks for anything but data.
    """
    path = Path(path)
    if not path.is_file():
        raise CheckpointError(f"no checkpoint at {path}; give the path of a .pth file")
    try:
        with path.open("rb") as file:
            is_zip = file.read(4) == b"PK\x03\x04"
        return _read_zip(path) if is_zip else _read_legacy(path)
    except UnsafePickle as error:
        raise CheckpointError(f"{path} is refused: {error}. Nothing in it was executed") from error
    except CheckpointError as error:
        raise CheckpointError(f"{path}: {error}") from error
    except Exception as error:  # a damaged file raises almost anything
        raise CheckpointError(f"{path} is not a readable torch checkpoint: {error}") from error


def is_torch_zip(path: Path) -> bool:
    """Whether a zip file is a checkpoint of torch rather than an archive with one in it."""
    try:
        with zipfile.ZipFile(path) as archive:
            return any(name.rpartition("/")[2] == "data.pkl" for name in archive.namelist())
    except zipfile.BadZipFile:
        return False


def _read_zip(path: Path) -> dict[str, np.ndarray]:
    with zipfile.ZipFile(path) as archive:
        members = {info.filename: info for info in archive.infolist()}
        # Stored and within the file's size: neither a bomb nor members that overlap pass.
        if any(info.compress_type != zipfile.ZIP_STORED for info in members.values()):
            raise UnsafePickle("its members are compressed, which torch never does")
        if sum(info.file_size for info in members.values()) > path.stat().st_size:
            raise UnsafePickle("its members claim more than the file holds")
        if any(".." in name.split("/") or name.startswith("/") for name in members):
            raise UnsafePickle("a member's path leads out of the archive")
        roots = [name.removesuffix("data.pkl") for name in members if name.rpartition("/")[2] == "data.pkl"]
        if len(roots) != 1:
            raise CheckpointError(f"it holds {len(roots)} data.pkl, a checkpoint of torch one")
        root = roots[0]
        order = archive.read(f"{root}byteorder").strip() if f"{root}byteorder" in members else b"little"

        def read(key: str, dtype: str) -> np.ndarray:
            data = np.frombuffer(archive.read(f"{root}data/{key}"), f"{'>' if order == b'big' else '<'}{dtype}")
            return data.astype(dtype, copy=False)

        tree = Tree(io.BytesIO(archive.read(f"{root}data.pkl")))
        return _Tensors(tree, read, path.stat().st_size).all()


def _read_legacy(path: Path) -> dict[str, np.ndarray]:
    """Five pickles (magic, version, system, object, keys of the storages), then for each key its length and bytes."""
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
        if LEGACY_MAGIC not in data[:32]:
            raise CheckpointError("it is neither a zip file nor of torch's older format")
        *_, tree, keys = trees = [Tree(data) for _ in range(5)]
        for each in trees:
            _refuse_unknown(each)
        dtypes = {key: dtype for key, dtype, _ in map(_storage_of, tree.persistent)}
        places = {}
        for key in keys.root:
            count = int.from_bytes(data.read(8), "little")
            places[key] = (data.tell(), count)
            end = data.tell() + count * np.dtype(dtypes[key]).itemsize
            if end > len(data):
                raise CheckpointError(f"the storage {key} is longer than the file, which seems truncated")
            data.seek(end)

        def read(key: str, dtype: str) -> np.ndarray:
            start, count = places[key]
            return np.frombuffer(data[start : start + count * np.dtype(dtype).itemsize], f"<{dtype}")

        return _Tensors(tree, read, len(data)).all()


class _Tensors:
    """Rebuilds the tensors of a tree; `read` gives the storage of a key."""

    def __init__(self, tree: Tree, read: Callable[[str, str], np.ndarray], file_size: int):
        _refuse_unknown(tree)
        self.root, self.read = tree.root, read
        self.storages: dict[str, np.ndarray] = {}
        # Half precision doubles and a storage may be shared; a file that asks for more than this means harm.
        self.budget = 4 * file_size + (1 << 20)

    def all(self) -> dict[str, np.ndarray]:
        """Every tensor of the state dictionary."""
        state = dict(entries(_state_of(self.root)))
        tensors = {}
        for name, node in state.items():
            if not isinstance(name, str):
                raise CheckpointError(f"its state dictionary has the key {name!r}, which is no name")
            tensors[name] = self._rebuild(name, node)
        if not tensors:
            raise CheckpointError("it holds no dictionary of tensors")
        if all(name.startswith("module.") for name in tensors):
            tensors = {name.removeprefix("module."): value for name, value in tensors.items()}
        return tensors

    def _rebuild(self, name: str, node: Any) -> np.ndarray:
        if isinstance(node, Call) and node.function.text in _PARAMETER:
            node = node.arguments[0]
        if not (isinstance(node, Call) and node.function.text in _TENSOR):
            kind = node.function.text if isinstance(node, Call) else type(node).__name__
            raise CheckpointError(f"{name} in its state dictionary is no tensor but {kind}")
        storage, offset, size, stride = node.arguments[:4]
        data, dtype = self._storage(storage)
        lengths = (offset, *size, *stride)
        if len(size) != len(stride) or not all(type(n) is int and n >= 0 for n in lengths):
            raise CheckpointError(f"{name} has the impossible size {size} with stride {stride}")
        count = math.prod(size)
        self.budget -= count * max(data.itemsize, 4)
        last = offset + sum((n - 1) * step for n, step in zip(size, stride, strict=True))
        if count and (last >= len(data) or self.budget < 0):
            raise CheckpointError(f"{name} of size {size} reaches beyond the {len(data)} numbers stored for it")
        if not count:
            return np.empty(size, data.dtype)
        view = np.lib.stride_tricks.as_strided(data[offset:], size, [step * data.itemsize for step in stride])
        return _widened(view, dtype)

    def _storage(self, node: Any) -> tuple[np.ndarray, str]:
        key, dtype, count = _storage_of(node)
        if key not in self.storages:
            self.storages[key] = self.read(key, dtype) if count else np.empty(0, dtype)
        data = self.storages[key]
        if len(data) != count or data.dtype != dtype:
            raise CheckpointError(f"the storage {key} holds {len(data)} numbers, the tensors say {count} of {dtype}")
        return data, node.key[1].text


def _widened(view: np.ndarray, storage: str) -> np.ndarray:
    """A contiguous copy, with numpy's dtypes: bfloat16 is the upper half of a float32."""
    if storage == "torch.BFloat16Storage":
        return (view.astype("u4", order="C") << 16).view("f4")
    return view.astype("f4" if view.dtype == "f2" else view.dtype, order="C")


def _storage_of(node: Any) -> tuple[str, str, int]:
    """Key, dtype and length of what ('storage', type, key, location, length[, view]) refers to."""
    reference = node.key if isinstance(node, Persistent) else None
    is_storage = isinstance(reference, tuple) and len(reference) in (5, 6) and reference[0] == "storage"
    if not (is_storage and isinstance(reference[1], Name) and reference[1].text in _STORAGES):
        raise UnsafePickle("it refers to something outside that is not the storage of a tensor")
    _, kind, key, _, count = reference[:5]
    if not (isinstance(key, str) and type(count) is int and count >= 0) or reference[5:] not in ((), (None,)):
        raise UnsafePickle(f"its reference to the storage {key!r} is none that torch writes")
    return key, _DTYPES[_STORAGES[kind.text]], count


def _state_of(root: Any) -> Any:
    """The state dictionary: the file itself, or what is under one of the usual keys in it."""
    outer = {key: value for key, value in entries(root) if isinstance(key, str)}
    return next((outer[key] for key in _STATE_KEYS if isinstance(outer.get(key), Entries)), root)


def _refuse_unknown(tree: Tree) -> None:
    """Raises UnsafePickle for the first name or call in a tree that no training needs."""
    for name in tree.names:
        if name.text not in _NAMES and name.text.split(".")[0] not in _PACKAGES and name.text != _GETATTR:
            raise UnsafePickle(f"it names {name.text}, which no weights need")
    for call in tree.calls:
        if not isinstance(call.function, Name):
            raise UnsafePickle("it calls the result of a call")
        name = call.function.text
        if name == _GETATTR and _is_history_method(call.arguments):
            continue
        if name == _GETATTR or (name not in _CALLS and not call.is_class):
            raise UnsafePickle(f"it calls {name}, which no weights need")
    for node in tree.persistent:
        _storage_of(node)


def _is_history_method(arguments: Any) -> bool:
    """mmengine's log history names its own methods by getattr in pickles of protocol 2."""
    is_pair = isinstance(arguments, tuple) and len(arguments) == 2 and isinstance(arguments[0], Name)
    return is_pair and arguments[0].text == _HISTORY and arguments[1] in ("min", "max", "mean", "current")
