"""Files that mean harm execute nothing, whichever format they come in, and end in one kind of error.

Each payload, unpickled by Python, would make the file `executed` in the current folder; a test of its own shows so.
"""

import os
import pickle
import subprocess
import zipfile

import numpy as np
import paddle
import pytest

from paddleseg_ext.weights import load_pretrained, load_weights, read_pdparams
from paddleseg_ext.weights.conversion import convert
from paddleseg_ext.weights.torch_file import read_torch
from paddleseg_ext_runtime.errors import CheckpointError

COMMAND = "touch executed"


class Evil:
    def __reduce__(self):
        return os.system, (COMMAND,)


def text(value):
    return b"X" + len(value).to_bytes(4, "little") + value.encode()


def _payloads():
    """Name -> a pickle without its end, which leaves one object."""
    opening = "open('executed', 'w')"
    system = b"cposix\nsystem\n"
    call = text(COMMAND) + b"\x85R"
    getattr_, os_module = b"cbuiltins\ngetattr\n", b"cbuiltins\n__import__\n" + text("os") + b"\x85R"
    partial = b"\x80\x02cfunctools\npartial\n"
    found = {f"reduce, protocol {n}": pickle.dumps({"w": Evil()}, protocol=n)[:-1] for n in range(6)}
    found["deep inside"] = pickle.dumps({"meta": [{"a": (1, [Evil()])}], "state_dict": {}}, protocol=2)[:-1]
    found["in a key"] = b"\x80\x02}" + system + call + b"K\x01s"
    found["the name computed"] = b"\x80\x04" + text("posix") + text("system") + b"\x93" + call
    memo = text("posix") + b"\x940" + text("system") + b"\x940h\x00h\x01\x93"
    found["the name from the memo"] = b"\x80\x04" + memo + call
    found["INST"] = b"(S'%s'\niposix\nsystem\n" % COMMAND.encode()
    found["OBJ"] = b"(" + system + text(COMMAND) + b"o"
    found["NEWOBJ"] = partial + system + text(COMMAND) + b"\x86\x81)R"
    found["a state by BUILD"] = partial + b"cbuiltins\nlen\n\x85R(" + system + text(COMMAND) + b"\x85}Ntb)R"
    found["a chain of getattr"] = b"\x80\x02" + getattr_ + os_module + text("system") + b"\x86R" + call
    found["eval"] = b"\x80\x02cbuiltins\neval\n" + text(opening) + b"\x85R"
    found["exec"] = b"\x80\x02cbuiltins\nexec\n" + text(opening) + b"\x85R"
    found["Python 2's names"] = b"\x80\x02c__builtin__\nopen\n" + text("executed") + text("w") + b"\x86R"
    found["numpy's exec"] = b"\x80\x02cnumpy.testing._private.utils\nrunstring\n" + text(opening) + b"}\x86R"
    found["called, then dropped"] = b"\x80\x02" + system + call + b"0}"
    lazy = b"cbuiltins\nmap\n" + system + text(COMMAND) + b"\x85\x86R"
    found["map"] = b"\x80\x02cbuiltins\nlist\n" + lazy + b"\x85R"
    return found


PAYLOADS = _payloads()
# What Python alone would not execute, but what is no data either.
ODD = {
    "torch.load": b"\x80\x02ctorch.serialization\nload\nX\x05\0\0\0x.pth\x85R",
    "torch.hub": b"\x80\x02ctorch.hub\nload\nX\x03\0\0\0a/bX\x01\0\0\0c\x86R",
    "a pickle in a storage": b"\x80\x02ctorch.storage\n_load_from_bytes\nC\x01x\x85R",
    "EXT1": b"\x80\x02\x82\x01",
    "EXT4": b"\x80\x02\x84\x01\0\0\0",
    "NEXT_BUFFER": b"\x80\x05\x97",
    "a storage of another kind": b"\x80\x02(X\x07\0\0\0storagecposix\nsystem\nX\x01\0\0\x000X\x03\0\0\0cpuK\x04tQ",
    "a module for a storage": b"\x80\x02(X\x06\0\0\0modulectorch\nFloatStorage\nX\x01\0\0\0aX\x01\0\0\0btQ",
    "a text for a storage": b"Pposix.system\n",
    "a call of a call": b"\x80\x02ccollections\nOrderedDict\n)R)R",
    "a call of a text": b"\x80\x02X\x0c\0\0\0posix.system)R",
    "a class of the history": b"\x80\x02c__builtin__\ngetattr\ncmmengine.logging.history_buffer\nHistoryBuffer\n"
    b"X\x09\0\0\0__class__\x86R",
    "a method of torch": b"\x80\x02c__builtin__\ngetattr\ncmmengine.logging.history_buffer\nos\nX\x03\0\0\0min\x86R",
    "a state for a function": b"\x80\x02ctorch._utils\n_rebuild_tensor_v2\nN}X\x0c\0\0\0__defaults__K\x01s\x86b",
    "a state for a name": b"\x80\x02cmmengine.a\nB\n}X\x01\0\0\0xK\x01sb",
    "named only": b"\x80\x02cposix\nsystem\n",
    "a name with a dot": b"\x80\x04X\x05\0\0\0torchX\x09\0\0\0os.system\x93)R",
}


def as_zip(path, pickled):
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("a/data.pkl", pickled)
        archive.writestr("a/version", "3")
    return path


def as_legacy(path, pickled):
    start = [pickle.dumps(0x1950A86A20F9469CFC6C, 2), pickle.dumps(1001, 2), pickle.dumps({}, 2)]
    path.write_bytes(b"".join([*start, pickled, pickle.dumps([], 2)]))
    return path


def as_paddle(path, pickled):
    path.write_bytes(pickled)
    return path


FORMS = {"zip": as_zip, "legacy": as_legacy, "paddle": as_paddle}


@pytest.fixture
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    yield tmp_path
    assert not (tmp_path / "executed").exists()


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("name", [*PAYLOADS, *ODD])
def test_nothing_is_executed(here, form, name):
    path = FORMS[form](here / "evil.pth", {**PAYLOADS, **ODD}[name] + b".")
    with pytest.raises(CheckpointError, match=r"evil\.pth"):
        read_pdparams(path) if form == "paddle" else read_torch(path)


@pytest.mark.parametrize("name", PAYLOADS)
def test_nor_as_part_of_good_weights(here, name):
    """In what a file needs besides its weights, which is skipped, it is refused all the same."""
    good = b"\x80\x02}(X\x0a\0\0\0state_dict}X\x01\0\0\0wK\x01sX\x04\0\0\0meta"
    with pytest.raises(CheckpointError, match="Nothing in it was executed"):
        read_torch(as_zip(here / "x.pth", good + PAYLOADS[name] + b"u."))


@pytest.mark.parametrize("form", FORMS)
def test_nor_by_whatever_loads_weights(here, form):
    path = FORMS[form](here / "evil.pth", PAYLOADS["reduce, protocol 2"] + b".")
    net = paddle.nn.Linear(2, 2)
    for load in (load_weights, load_pretrained):
        with pytest.raises(CheckpointError, match=r"posix\.system"):
            load(net, str(path))
    for output in ("x.pdparams", "y.pth"):
        with pytest.raises(CheckpointError):
            convert(str(path), here / output)
    assert not [*here.glob("x*"), *here.glob("y*")]


def test_the_message_names_what_was_asked_for(here):
    with pytest.raises(CheckpointError, match=r"x\.pth is refused: it names posix\.system, .* Nothing"):
        read_torch(as_zip(here / "x.pth", PAYLOADS["OBJ"] + b"."))


def test_the_payloads_would_execute(tmp_path, python):
    """Or the tests above could not fail."""
    for i, payload in enumerate(PAYLOADS.values()):
        (tmp_path / str(i)).mkdir()
        (tmp_path / str(i) / "x").write_bytes(payload + b".")
    loader = (
        "import os, pickle, sys\n"
        f"for i in range({len(PAYLOADS)}):\n"
        "    os.chdir(os.path.join(sys.argv[1], str(i)))\n"
        "    try: pickle.load(open('x', 'rb'))\n"
        "    except Exception: pass\n"
    )
    subprocess.run([python, "-c", loader, tmp_path], check=True)
    assert not [name for i, name in enumerate(PAYLOADS) if not (tmp_path / str(i) / "executed").exists()]


def numpy_call(name, arguments):
    return b"\x80\x02cnumpy.core.multiarray\n%s\n%sR." % (name, arguments)


NDARRAY, FOUR_TIB = b"cnumpy\nndarray\n", b"\x8a\x06\0\0\0\0\0\x04\x85"


@pytest.mark.parametrize(
    "pickled",
    [
        numpy_call(b"_reconstruct", NDARRAY + FOUR_TIB + b"C\x01f\x87"),
        b"\x80\x02" + NDARRAY + FOUR_TIB + b"\x85R.",
        numpy_call(b"scalar", b"cnumpy\ndtype\nX\x0b\0\0\0V2000000000\x85R\x85"),
        numpy_call(b"scalar", b"cnumpy\ndtype\nX\x02\0\0\0f8\x85R\x85"),
        b"\x80\x02cnumpy\ndtype\nX\x01\0\0\0O\x85R.",
        b"\x80\x02cnumpy\ndtype\n](X\x01\0\0\0aX\x02\0\0\0f4\x86e\x85R.",
    ],
)
def test_a_few_bytes_do_not_ask_for_terabytes(here, pickled):
    (here / "x.pdparams").write_bytes(b"\x80\x02}X\x01\0\0\0w" + pickled[2:-1] + b"s.")
    with pytest.raises(CheckpointError, match=r"x\.pdparams|holds a"):
        load_weights(paddle.nn.Linear(2, 2), here / "x.pdparams")


def test_no_file_changes_numpys_dtypes(here):
    """numpy would turn the byte order of the one `float32` that all of Python shares."""
    state = b"(K\x03X\x01\0\0\0>NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\0tb"
    (here / "x.pdparams").write_bytes(b"\x80\x02}X\x01\0\0\0wcnumpy\ndtype\nX\x02\0\0\0f4\x85R" + state + b"s.")
    read_pdparams(here / "x.pdparams")
    assert np.dtype("f4").isnative and np.ones(1, "f4").tobytes() == b"\0\0\x80?"


# Sixty tuples, each twice the one below: to hash, print or copy the last takes 2^60 steps.
NESTED = b"K\x01q\x000" + b"".join(b"h%ch%c\x86q%c0" % (i, i, i + 1) for i in range(60)) + b"h\x3c"
ENDLESS = {
    "a key": b"}" + NESTED + b"K\x01s",
    "a key of OrderedDict": b"ccollections\nOrderedDict\n](" + NESTED + b"K\x01\x86e\x85R",
    "an item of a set": b"\x8f(" + NESTED + b"\x90",
    "a dtype": b"}" + text("w") + b"cnumpy\ndtype\n" + NESTED + b"\x85Rs",
    "a storage": b"(" + text("storage") + b"ctorch\nFloatStorage\n" + NESTED + text("cpu") + b"K\x04tQ",
    "a bytearray of 2^50": b"\x96\0\0\0\0\0\0\x04\0",
    "bytes of 2^62": b"\x8e\0\0\0\0\0\0\0\x40",
    "a memo of 2^32": b"Nr\xff\xff\xff\xff",
}


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("name", ENDLESS)
def test_a_few_bytes_do_not_ask_for_eternity(here, form, name):
    path = FORMS[form](here / "x.pth", b"\x80\x02" + ENDLESS[name] + b".")
    with pytest.raises(CheckpointError, match=r"x\.pth"):
        read_pdparams(path) if form == "paddle" else read_torch(path)


def test_shared_content_does_not_multiply(here):
    """A thousand arrays over the same megabyte."""
    numbers = b"B" + (1 << 20).to_bytes(4, "little") + bytes(1 << 20) + b"q\x00"
    state = b"(K\x01J\0\0\x10\0\x85cnumpy\ndtype\nX\x02\0\0\0u1\x85R\x89h\x00t"
    array = b"cnumpy.core.multiarray\n_reconstruct\ncnumpy\nndarray\nK\x00\x85C\x01b\x87R" + state + b"b"
    for count in (2, 1000):
        body = b"".join(text(str(i)) + array for i in range(count))
        (here / "x.pdparams").write_bytes(b"\x80\x03" + numbers + b"0}(" + body + b"u.")
        if count == 2:
            assert [value.shape for value in read_pdparams(here / "x.pdparams").values()] == [(1 << 20,)] * 2
    with pytest.raises(CheckpointError, match="an array that cannot be"):
        read_pdparams(here / "x.pdparams")
