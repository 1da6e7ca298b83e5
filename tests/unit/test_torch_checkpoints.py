import pickletools
import struct
import zipfile
from pathlib import Path

import numpy as np
import pytest
from unit.torch_layout import checkpoint, storage, tensor

from paddleseg_ext.weights import pickle_tree
from paddleseg_ext.weights.torch_file import read_torch
from paddleseg_ext.weights.torch_writer import write_torch
from paddleseg_ext_runtime.errors import CheckpointError, ConfigError

FILES = Path(__file__).parent.parent / "golden" / "torch_files"
GENUINE = sorted(path.stem for path in FILES.glob("*.pth"))


def repacked(source, target, change, compression=zipfile.ZIP_STORED):
    """A copy of a zip checkpoint in which `change` may edit the members (name -> bytes)."""
    with zipfile.ZipFile(source) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    change(members)
    with zipfile.ZipFile(target, "w", compression) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return target


def equal(read, expected):
    assert read.keys() == expected.keys()
    for name, value in expected.items():
        assert read[name].dtype == value.dtype and read[name].shape == value.shape, name
        assert np.array_equal(read[name], value), name


def test_every_kind_of_file_is_there():
    kinds = {"bare", "mmengine", "odd", "protocol4"}
    assert {*GENUINE} == {f"{form}_{kind}" for form in ("zip", "legacy") for kind in kinds} | {"zip_timm"}


@pytest.mark.parametrize("name", GENUINE)
def test_what_torch_wrote_is_read_tensor_for_tensor(name):
    with np.load(FILES / ("odd.npz" if "odd" in name else "ordinary.npz")) as expected:
        equal(read_torch(FILES / f"{name}.pth"), dict(expected))


@pytest.mark.parametrize("name", GENUINE)
def test_a_truncated_file_is_refused_wherever_it_ends(name, tmp_path):
    whole = (FILES / f"{name}.pth").read_bytes()
    path = tmp_path / "cut.pth"
    for length in {0, 1, *np.linspace(2, len(whole) - 1, 60, dtype=int)}:
        path.write_bytes(whole[:length])
        with pytest.raises(CheckpointError, match=r"cut\.pth"):
            read_torch(path)


@pytest.mark.parametrize("name", GENUINE)
def test_a_damaged_file_is_read_or_refused(name, tmp_path):
    whole = (FILES / f"{name}.pth").read_bytes()
    rng = np.random.RandomState(0)
    path = tmp_path / "damaged.pth"
    refused = 0
    for _ in range(150):
        damaged = bytearray(whole)
        for place in rng.randint(0, len(whole), rng.randint(1, 6)):
            damaged[place] = rng.randint(256)
        path.write_bytes(damaged)
        try:
            assert all(isinstance(value, np.ndarray) for value in read_torch(path).values())
        except CheckpointError:
            refused += 1
    assert refused > 10


def test_missing_file(tmp_path):
    with pytest.raises(CheckpointError, match=r"no checkpoint at .*none\.pth"):
        read_torch(tmp_path / "none.pth")


def test_big_endian_storages(tmp_path):
    def swap(members):
        root = next(name for name in members if name.endswith("data.pkl")).removesuffix("data.pkl")
        members[f"{root}byteorder"] = b"big"
        for name in members:
            if name.startswith(f"{root}data/"):
                size = 8 if len(members[name]) == 8 else 4
                members[name] = np.frombuffer(members[name], f"u{size}").byteswap().tobytes()

    path = repacked(FILES / "zip_bare.pth", tmp_path / "big.pth", swap)
    with np.load(FILES / "ordinary.npz") as expected:
        equal(read_torch(path), dict(expected))


TENSORS = {
    "a.weight": np.arange(24, dtype="float32").reshape(2, 3, 4),
    "a.transposed": np.arange(6, dtype="float32").reshape(2, 3).T,
    "half": np.array([0.5, -2], "float32"),
    "bn.num_batches_tracked": np.zeros([], "int64"),
    "empty": np.zeros((0, 3), "float32"),
    "bytes": np.arange(3, dtype="uint8"),
    "schön": np.ones(2, "float64"),
}


def test_what_is_written_is_read_again(tmp_path):
    write_torch(tmp_path / "x.pth", TENSORS, {"by": "test"})
    equal(read_torch(tmp_path / "x.pth"), TENSORS)
    write_torch(tmp_path / "y.pth", TENSORS, {"by": "test"})
    assert (tmp_path / "x.pth").read_bytes() == (tmp_path / "y.pth").read_bytes()


def test_what_is_written_has_torchs_layout(tmp_path):
    """Names, alignment and instructions as in torch's own file, by which `torch.load` reads it."""
    write_torch(tmp_path / "x.pth", TENSORS, {})
    with zipfile.ZipFile(tmp_path / "x.pth") as archive, zipfile.ZipFile(FILES / "zip_bare.pth") as genuine:
        assert archive.testzip() is None
        infos = {info.filename: info for info in archive.infolist()}
        ours = pickletools_names(archive.read("archive/data.pkl"))
        theirs = pickletools_names(genuine.read("zip_bare/data.pkl"))
        assert ours - theirs == {"torch DoubleStorage", "torch ByteStorage"}
    storages = [f"archive/data/{i}" for i in range(len(TENSORS))]
    assert [*infos] == ["archive/data.pkl", "archive/byteorder", *storages, "archive/version"]
    content = (tmp_path / "x.pth").read_bytes()
    for info in infos.values():
        name, extra = struct.unpack("<HH", content[info.header_offset + 26 : info.header_offset + 30])
        assert (info.header_offset + 30 + name + extra) % 64 == 0


def pickletools_names(data):
    return {argument for opcode, argument, _ in pickletools.genops(data) if opcode.name == "GLOBAL"}


def test_a_file_that_cannot_be_written_leaves_the_old_one(tmp_path):
    (tmp_path / "x.pth").write_bytes(b"old")
    with pytest.raises(CheckpointError, match="z is of complex64, which torch has not"):
        write_torch(tmp_path / "x.pth", {"z": np.zeros(2, "complex64")}, {})
    (tmp_path / "file").touch()
    with pytest.raises(ConfigError, match="cannot write"):
        write_torch(tmp_path / "file" / "x.pth", TENSORS, {})
    assert (tmp_path / "x.pth").read_bytes() == b"old"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file", "x.pth"]


def one(node):
    return b"\x80\x02}X\x01\0\0\0w" + node + b"s."


def test_a_tensor_made_by_hand(tmp_path):
    path = checkpoint(tmp_path / "x.pth", one(tensor(storage(), 1, (2, 1), (2, 7))))
    equal(read_torch(path), {"w": np.array([[1], [3]], "f4")})


@pytest.mark.parametrize(
    ("node", "says"),
    [
        (tensor(storage(), 0, (5,), (1,)), "reaches beyond the 4 numbers"),
        (tensor(storage(), 3, (2,), (1,)), "reaches beyond"),
        (tensor(storage(), 0, (2,), (2**40,)), "reaches beyond"),
        (tensor(storage(), 0, (2**20, 2**20, 2**22), (0, 0, 0)), "reaches beyond"),
        (tensor(storage(), 0, (2**40,), (0,)), "reaches beyond"),
        (tensor(storage(), -1), "impossible size"),
        (tensor(storage(), 0, (2,), (-1,)), "impossible size"),
        (tensor(storage(), 0, (-2,), (1,)), "impossible size"),
        (tensor(storage(), 0, (2, 2), (1,)), "impossible size"),
        (tensor(storage(0), 0, (4,), (1,)), "reaches beyond the 0"),
        (tensor(storage(2**40), 0, (2**40,), (1,)), "holds 4 numbers, the tensors say 1099511627776"),
        (tensor(storage(2**62), 0, (2**62,), (1,)), "holds 4 numbers"),
        (tensor(storage(2, kind="torch\nDoubleStorage"), 0, (4,), (1,)), "reaches beyond the 2"),
        (tensor(storage(-4)), "none that torch writes"),
        (tensor(storage(key="9")), "not a readable torch checkpoint"),
        (tensor(storage(kind="torch\nQInt8Storage")), "not the storage of a tensor"),
        (storage(), "is no tensor but Storage"),
        (b"K\x01", "w in its state dictionary is no tensor but int"),
        (b"ccollections\nOrderedDict\n)R", "is no tensor but collections.OrderedDict"),
        (b"cmmengine.x\nThing\n)\x81", "is no tensor but mmengine.x.Thing"),
    ],
)
def test_a_tensor_that_cannot_be(tmp_path, node, says):
    with pytest.raises(CheckpointError, match=says):
        read_torch(checkpoint(tmp_path / "x.pth", one(node)))


def test_many_views_of_one_storage_do_not_multiply_it(tmp_path):
    storages = [np.arange(1 << 18, dtype="f4")]
    body = b"".join(b"X\x03\0\0\0%03d" % i + tensor(storage(1 << 18), 0, (1 << 18,), (1,)) for i in range(8))
    with pytest.raises(CheckpointError, match="reaches beyond"):
        read_torch(checkpoint(tmp_path / "x.pth", b"\x80\x02}(" + body + b"u.", storages))


@pytest.mark.parametrize("pickled", [b"}", b"]", b"N", b"X\x01\0\0\0x", b"K\x01K\x02\x86"])
def test_what_holds_no_tensors(tmp_path, pickled):
    with pytest.raises(CheckpointError, match="it holds no dictionary of tensors"):
        read_torch(checkpoint(tmp_path / "x.pth", b"\x80\x02" + pickled + b"."))


def test_keys_that_are_no_names(tmp_path):
    with pytest.raises(CheckpointError, match="has the key 7, which is no name"):
        read_torch(checkpoint(tmp_path / "x.pth", b"\x80\x02}K\x07" + tensor(storage()) + b"s."))


def test_a_zip_is_as_torch_writes_it(tmp_path):
    pickled = one(tensor(storage()))
    path = checkpoint(tmp_path / "x.pth", pickled)
    with pytest.raises(CheckpointError, match="members are compressed"):
        read_torch(repacked(path, tmp_path / "y.pth", lambda members: None, zipfile.ZIP_DEFLATED))
    with pytest.raises(CheckpointError, match="leads out of the archive"):
        read_torch(repacked(path, tmp_path / "y.pth", lambda members: members.update({"a/../../b": b""})))
    with pytest.raises(CheckpointError, match=r"it holds 2 data\.pkl"):
        read_torch(repacked(path, tmp_path / "y.pth", lambda members: members.update({"b/data.pkl": pickled})))
    with pytest.raises(CheckpointError, match=r"it holds 0 data\.pkl"):
        read_torch(repacked(path, tmp_path / "y.pth", lambda members: members.pop("a/data.pkl")))


def test_members_that_overlap(tmp_path):
    """Every entry of the directory points at the same megabyte."""
    path = checkpoint(tmp_path / "x.pth", one(tensor(storage())), [np.zeros(1 << 18, "f4")] * 8)
    content = bytearray(path.read_bytes())
    with zipfile.ZipFile(path) as archive:
        first = archive.getinfo("a/data/0").header_offset
        kept = archive.getinfo("a/data/1").header_offset
        start = archive.start_dir
    directory = content[start:]
    for position in range(len(directory)):
        if directory[position : position + 4] == b"PK\x01\x02" and b"data/" in directory[position + 46 : position + 54]:
            directory[position + 42 : position + 46] = struct.pack("<I", first)
    end = directory.rindex(b"PK\x05\x06")
    directory[end + 16 : end + 20] = struct.pack("<I", kept)
    path.write_bytes(content[:kept] + directory)
    with pytest.raises(CheckpointError, match="claim more than the file holds"):
        read_torch(path)


def test_instructions_are_counted(tmp_path, monkeypatch):
    monkeypatch.setattr(pickle_tree, "MAX_INSTRUCTIONS", 1000)
    with pytest.raises(CheckpointError, match="more than 1,000 instructions"):
        read_torch(checkpoint(tmp_path / "x.pth", b"\x80\x02" + b"N0" * 1000 + b"}."))


def test_a_tree_that_refers_to_itself_is_not_walked(tmp_path):
    """Forty levels, each twice the one below: written out it would have 10^12 leaves."""
    level = b"]q%c(h%ch%ce"
    levels = b"(]q\x00" + b"".join(level % (i + 1, i, i) for i in range(40)) + b"t"
    pickled = b"\x80\x02}(X\x04\0\0\0meta" + levels + b"X\x01\0\0\0w" + tensor(storage()) + b"u."
    with pytest.raises(CheckpointError, match="meta in its state dictionary is no tensor but tuple"):
        read_torch(checkpoint(tmp_path / "x.pth", pickled))
