"""Reads files of `torch.save` (.pth), in zip or legacy format, without torch and without executing anything in them.

Only tensors are rebuilt. The other data that mmcv, mmengine and timm save (optimizer, schedules, log history) is
skipped. A file that calls or names anything that training does not need is refused.
"""

import io
import math
import mmap
import reprlib
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from paddleseg_ext.weights.pickle_tree import Call, DataUnpickler, Entries, Name, UnsafePickle, entries, reported
from paddleseg_ext_runtime.errors import CheckpointError

LEGACY_MAGIC = b"\x8a\x0al\xfc\x9cF\xf9 j\xa8P\x19."  # 0x1950a86a20f9469cfc6c, pickled, after its protocol
_DTYPES = {
    "Double": "f8", "Float": "f4", "Half": "f2", "BFloat16": "u2", "Long": "i8", "Int": "i4", "Short": "i2",
    "Char": "i1", "Byte": "u1", "Bool": "?",
}  # fmt: skip
_STORAGES = {f"torch.{name}Storage": dtype for name, dtype in _DTYPES.items()}
_STATE_KEYS = ("state_dict_ema", "state_dict", "model")  # in the order in which the three projects look for them


def read_torch(path: str | Path) -> dict[str, np.ndarray]:
    """The tensors of a checkpoint by name, without an enclosing `state_dict` or `module.`; float16 becomes float32.

    Raises CheckpointError when the file is missing or damaged, holds no tensors, or would run code.
    """
    path = Path(path)
    with reported(path, "torch", ".pth"):
        with path.open("rb") as file:
            is_zip = file.read(4) == b"PK\x03\x04"
        return _read_zip(path) if is_zip else _read_legacy(path)


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
        # Members must be uncompressed and fit into the file: this refuses zip bombs and members that overlap.
        if any(info.compress_type != zipfile.ZIP_STORED for info in members.values()):
            raise UnsafePickle("its members are compressed, which torch never does")
        if sum(info.file_size for info in members.values()) > path.stat().st_size:
            raise UnsafePickle("its members claim more than the file holds")
        if any(".." in name.split("/") or name.startswith("/") for name in members):
            raise UnsafePickle("a member's path leads out of the archive")
        roots = [name.removesuffix("data.pkl") for name in members if name.rpartition("/")[2] == "data.pkl"]
        if len(roots) != 1:
            raise CheckpointError(f"it holds {len(roots)} data.pkl; a checkpoint of torch holds one")
        root = roots[0]
        order = archive.read(f"{root}byteorder").strip() if f"{root}byteorder" in members else b"little"

        def read(key: str, dtype: str) -> np.ndarray:
            data = np.frombuffer(archive.read(f"{root}data/{key}"), f"{'>' if order == b'big' else '<'}{dtype}")
            return data.astype(dtype, copy=False)

        pickled = io.BytesIO(archive.read(f"{root}data.pkl"))
        return _Tensors(_Unpickler(pickled).load(), read, path.stat().st_size).all()


def _read_legacy(path: Path) -> dict[str, np.ndarray]:
    """Five pickles (magic, version, system, object, keys of the storages), then for each key its length and bytes."""
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
        if LEGACY_MAGIC not in data[:32]:
            raise CheckpointError("it is neither a zip file nor of torch's older format")
        *_, whole, _ = unpicklers = [_Unpickler(data) for _ in range(5)]
        *_, root, keys = [unpickler.load() for unpickler in unpicklers]
        places = {}
        for key in keys:
            if not isinstance(key, str):
                raise CheckpointError("it names a storage by something that is not a string")
            count = int.from_bytes(data.read(8), "little")
            places[key] = (data.tell(), count)
            end = data.tell() + count * np.dtype(whole.dtypes[key]).itemsize
            if end > len(data):
                raise CheckpointError(f"the storage {key} is longer than the file, which seems truncated")
            data.seek(end)

        def read(key: str, dtype: str) -> np.ndarray:
            start, count = places[key]
            return np.frombuffer(data[start : start + count * np.dtype(dtype).itemsize], f"<{dtype}")

        return _Tensors(root, read, len(data)).all()


class Storage(NamedTuple):
    """A reference to numbers that the file stores outside its pickle."""

    kind: str
    key: str
    count: int


class _Unpickler(DataUnpickler):
    """An unpickler that understands storages and collects their dtypes by key."""

    def __init__(self, file: Any):
        super().__init__(file)
        self.dtypes: dict[str, str] = {}

    def persistent_load(self, pid: Any) -> Storage:
        """The storage that ('storage', type, key, location, length[, view]) refers to."""
        is_storage = isinstance(pid, tuple) and len(pid) in (5, 6) and pid[0] == "storage"
        if not (is_storage and isinstance(pid[1], Name) and pid[1] in _STORAGES):
            raise UnsafePickle("it refers to something outside that is not the storage of a tensor")
        _, kind, key, _, count = pid[:5]
        if not (isinstance(key, str) and type(count) is int and count >= 0) or pid[5:] not in ((), (None,)):
            raise UnsafePickle(f"its reference to the storage {reprlib.repr(key)[:40]} is none that torch writes")
        self.dtypes[key] = _STORAGES[kind]
        return Storage(kind, key, count)


class _Tensors:
    """Rebuilds the tensors of a pickle from its root; `read` returns the numbers of a storage by key."""

    def __init__(self, root: Any, read: Callable[[str, str], np.ndarray], file_size: int):
        self.root, self.read = root, read
        self.storages: dict[str, np.ndarray] = {}
        # float16 doubles in size and tensors may share a storage; a file that needs more memory than this is an attack.
        self.budget = 4 * file_size + (1 << 20)

    def all(self) -> dict[str, np.ndarray]:
        """Every tensor of the state dictionary."""
        tensors = {}
        for name, node in entries(_state_of(self.root)):
            if not isinstance(name, str):
                raise CheckpointError(f"its state dictionary has the key {reprlib.repr(name)[:40]}, which is no name")
            tensors[name] = self._rebuild(name, node)
        if not tensors:
            raise CheckpointError("it holds no dictionary of tensors")
        if all(name.startswith("module.") for name in tensors):
            tensors = {name.removeprefix("module."): value for name, value in tensors.items()}
        return tensors

    def _rebuild(self, name: str, node: Any) -> np.ndarray:
        if isinstance(node, Call) and node.name.startswith("torch._utils._rebuild_parameter"):
            node = node.arguments[0]
        if not (isinstance(node, Call) and node.name.startswith("torch._utils._rebuild_tensor")):
            kind = node.name if isinstance(node, Call) else type(node).__name__
            raise CheckpointError(f"{name} in its state dictionary is no tensor but {kind}")
        storage, offset, size, stride = node.arguments[:4]
        data = self._numbers(storage)
        # The product of more or larger numbers can take forever; torch has no such tensors.
        is_short = len(size) == len(stride) <= 64
        if not (is_short and all(type(n) is int and 0 <= n < 1 << 63 for n in (offset, *size, *stride))):
            raise CheckpointError(f"{name} has the impossible size {reprlib.repr(size)[:40]} or stride")
        count = math.prod(size)
        self.budget -= count * max(data.itemsize, 4)
        last = offset + sum((n - 1) * step for n, step in zip(size, stride, strict=True))
        if count and (last >= len(data) or self.budget < 0):
            raise CheckpointError(f"{name} of size {size} reaches beyond the {len(data)} numbers stored for it")
        if not count:
            return np.empty(size, data.dtype)
        view = np.lib.stride_tricks.as_strided(data[offset:], size, [step * data.itemsize for step in stride])
        if storage.kind == "torch.BFloat16Storage":  # the upper half of a float32
            return (view.astype("u4", order="C") << 16).view("f4")
        return view.astype("f4" if view.dtype == "f2" else view.dtype, order="C")

    def _numbers(self, storage: Any) -> np.ndarray:
        if not isinstance(storage, Storage):
            raise CheckpointError("a tensor in it has no storage")
        key, dtype, count = storage.key, _STORAGES[storage.kind], storage.count
        if key not in self.storages:
            self.storages[key] = self.read(key, dtype) if count else np.empty(0, dtype)
        data = self.storages[key]
        if len(data) != count or data.dtype != dtype:
            raise CheckpointError(f"the storage {key} holds {len(data)} numbers, the tensors say {count} of {dtype}")
        return data


def _state_of(root: Any) -> Any:
    """The state dictionary: the entry under one of the usual keys, or else the root itself."""
    outer = {key: value for key, value in entries(root) if isinstance(key, str)}
    return next((outer[key] for key in _STATE_KEYS if isinstance(outer.get(key), Entries)), root)
