"""Files laid out as `torch.save` lays them out, in either format, without torch."""

import pickle
import struct
import zipfile

import numpy as np

KINDS = {"float32": "Float", "float64": "Double", "int64": "Long"}
FORMS = ("zip", "legacy")
WRAPPINGS = ("bare", "state_dict", "state_dict and meta", "model", "module.")
FOUR = np.arange(4, dtype="f4")


def text(value):
    return b"X" + struct.pack("<I", len(value.encode())) + value.encode()


def number(value):
    return b"\x8a\x08" + struct.pack("<q", value)


def numbers(values):
    return b"(" + b"".join(number(value) for value in values) + b"t"


def storage(count=4, key="0", kind="torch\nFloatStorage", view=b""):
    """The instructions for a reference to a storage."""
    return b"(" + text("storage") + f"c{kind}\n".encode() + text(key) + text("cpu") + number(count) + view + b"tQ"


def tensor(reference, offset=0, size=(4,), stride=(1,)):
    """The instructions for a tensor over a storage."""
    arguments = reference + number(offset) + numbers(size) + numbers(stride) + b"\x89ccollections\nOrderedDict\n)R"
    return b"ctorch._utils\n_rebuild_tensor_v2\n(" + arguments + b"tR"


def checkpoint(path, pickled, storages=(FOUR,)):
    """A zip checkpoint with this pickle."""
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("a/data.pkl", pickled)
        archive.writestr("a/version", "3")
        for i, array in enumerate(storages):
            archive.writestr(f"a/data/{i}", array.tobytes())
    return path


def save(path, tensors, form="zip", wrapping="state_dict and meta"):
    """A checkpoint of these tensors (name -> array) in one of FORMS and WRAPPINGS."""
    prefix = "module." if wrapping == "module." else ""
    body = [b"ccollections\nOrderedDict\n)R("]
    for i, (name, array) in enumerate(tensors.items()):
        stride = [step // array.itemsize for step in array.strides]
        kind = f"torch\n{KINDS[array.dtype.name]}Storage"
        reference = storage(array.size, str(i), kind, b"N" if form == "legacy" else b"")
        body += [text(prefix + name), tensor(reference, 0, array.shape, stride)]
    # torch leaves the versions of the layers in the dictionary's own attributes.
    state = b"".join([*body, b"u}", text("_metadata"), b"}", text(""), b"}ssb"])
    if wrapping == "state_dict and meta":
        meta = pickle.dumps({"cfg": "model = dict()", "time": "now", "CLASSES": ("wall",), "seed": 3}, 2)[2:-1]
        state = b"}(" + text("meta") + meta + text("state_dict") + state + b"u"
    elif wrapping in ("state_dict", "model"):
        state = b"}" + text(wrapping) + state + b"s"
    pickled = b"\x80\x02" + state + b"."
    arrays = [np.ascontiguousarray(array) for array in tensors.values()]
    if form == "zip":
        return checkpoint(path, pickled, arrays)
    start = [0x1950A86A20F9469CFC6C, 1001, {"protocol_version": 1001, "little_endian": True, "type_sizes": {"int": 4}}]
    with path.open("wb") as file:
        file.write(b"".join(pickle.dumps(part, 2) for part in start) + pickled)
        pickle.dump([str(i) for i in range(len(arrays))], file, 2)
        for array in arrays:
            file.write(struct.pack("<q", array.size) + array.tobytes())
    return path
