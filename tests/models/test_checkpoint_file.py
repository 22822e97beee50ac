"""Files that declare or unpack to more than a network needs are refused before memory is taken for it."""

import io
import struct
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from tl_robust.errors import DataError
from tl_robust.models.checkpoint import load_checkpoint

SIZE = 1 << 28  # bytes of each bomb
LESS = 150 << 20  # bytes that refusing all of them may take


def net() -> nn.Module:
    return nn.Linear(2, 1)


def good() -> dict[str, Tensor]:
    return {"weight": torch.ones(1, 2), "bias": torch.ones(1)}


def header(shape: tuple[int, ...], kind: str = "<f4") -> bytes:
    file = io.BytesIO()
    np.lib.format.write_array_header_1_0(file, {"descr": kind, "fortran_order": False, "shape": shape})  # type: ignore[arg-type]
    return file.getvalue()


def deflated(path: Path, name: str, head: bytes, others: dict[str, bytes]) -> None:
    """A member that begins with ``head`` and goes on with zeros."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for other, content in others.items():
            archive.writestr(other, content)
        with archive.open(name, "w", force_zip64=True) as file:
            file.write(head)
            for _ in range(SIZE >> 26):
                file.write(bytes(1 << 26))


def bias() -> dict[str, bytes]:
    return {"bias.npy": header((1,)) + bytes(4)}


def members(content: object) -> dict[str, bytes]:
    file = io.BytesIO()
    torch.save(content, file)
    with zipfile.ZipFile(file) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def other_name(path: Path) -> None:
    deflated(path, "big.npy", header((SIZE // 4,)), {})


def right_name(path: Path) -> None:
    deflated(path, "weight.npy", header((SIZE // 4,)), bias())


def more_than_declared(path: Path) -> None:
    deflated(path, "weight.npy", header((1, 2)), bias())


def long_header(path: Path) -> None:
    deflated(path, "weight.npy", b"\x93NUMPY\x02\x00" + struct.pack("<I", SIZE), bias())


def no_array(path: Path) -> None:
    deflated(path, "readme.txt", b"", bias())


def compressed_numbers(path: Path) -> None:
    parts = members({"weight": torch.zeros(SIZE // 4)})
    name = next(name for name in parts if name.endswith("data/0"))
    deflated(path, name, b"", {other: content for other, content in parts.items() if other != name})


def expanded(path: Path) -> None:
    torch.save({"weight": torch.ones(1).expand(SIZE // 4), "bias": torch.ones(1)}, path)


def sparse_file(path: Path) -> None:
    """A hole on the disk, which reads as zeros."""
    save_file({"weight": torch.zeros(4)}, path)
    content = path.read_bytes().replace(b'"shape":[4]', b'"shape":[%d]' % (SIZE // 4))
    content = content.replace(b'"data_offsets":[0,16]', b'"data_offsets":[0,%d]' % SIZE)
    head = content[8:-16].rstrip() + b" " * (-len(content[8:-16].rstrip()) % 8)
    path.write_bytes(struct.pack("<Q", len(head)) + head)
    with path.open("r+b") as file:
        file.truncate(8 + len(head) + SIZE)


BOMBS: dict[str, tuple[str, Callable[[Path], None], str]] = {
    "other name": ("w.npz", other_name, r"missing in the file: weight, bias; no place in the network: big"),
    "right name": ("w.npz", right_name, rf"other shapes: weight: file \[{SIZE // 4}\], network \[1, 2\]"),
    "more than declared": ("w.npz", more_than_declared, r"array 'weight' declares 136 bytes and has 2684"),
    "long header": ("w.npz", long_header, rf"an array's header of {SIZE} bytes"),
    "no array": ("w.npz", no_array, r"'readme\.txt' in it is no array"),
    "compressed numbers": ("w.pt", compressed_numbers, r"is compressed, which torch\.save never does"),
    "expanded": ("w.pt", expanded, rf"other shapes: weight: file \[{SIZE // 4}\]"),
    "sparse file": ("w.safetensors", sparse_file, rf"file \[{SIZE // 4}\]"),
}


@pytest.mark.parametrize("name", BOMBS)
def test_a_bomb_is_refused_in_one_sentence(name: str, tmp_path: Path) -> None:
    where, make, message = BOMBS[name]
    make(tmp_path / where)
    with pytest.raises(DataError, match=message) as caught:
        load_checkpoint(where, tmp_path, net())
    assert "\n" not in str(caught.value)


def test_no_bomb_takes_its_memory(tmp_path: Path) -> None:
    """In a process of its own, whose largest size is its own."""
    for name, (where, make, _) in BOMBS.items():
        (tmp_path / name).mkdir()
        make(tmp_path / name / where)
    child = (
        "import resource, sys; from pathlib import Path; from torch import nn\n"
        "from tl_robust.errors import DataError; from tl_robust.models.checkpoint import load_checkpoint\n"
        "before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss\n"
        "for path in sorted(Path(sys.argv[1]).glob('*/w.*')):\n"
        "    try: load_checkpoint(str(path), path.parent, nn.Linear(2, 1))\n"
        "    except DataError: print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)\n"
    )
    output = subprocess.check_output([sys.executable, "-c", child, str(tmp_path)], text=True)
    taken = [int(line) * 1024 for line in output.splitlines()]
    assert len(taken) == len(BOMBS)
    assert max(taken) < LESS


@pytest.mark.parametrize("ending", [".npz", ".pt", ".safetensors"])
def test_a_plain_file_is_read(ending: str, tmp_path: Path) -> None:
    path = tmp_path / f"w{ending}"
    if ending == ".npz":
        np.savez_compressed(path, **{name: value.numpy() for name, value in good().items()})  # type: ignore[arg-type]
    elif ending == ".pt":
        torch.save(good() | {"weight": torch.ones(1).expand(1, 2)}, path)
    else:
        save_file(good(), path)
    found = load_checkpoint(path.name, tmp_path, net())
    path.unlink()
    assert all(torch.equal(found[name], value) for name, value in good().items())
    assert [value.untyped_storage().nbytes() for value in found.values()] == [8, 4]


@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_arrays_of_one_name(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "w.npz", "w") as archive:
        for value in (1.0, 2.0):
            archive.writestr("bias.npy", header((1,)) + np.float32(value).tobytes())
    with pytest.raises(DataError, match="two arrays are named 'bias'"):
        load_checkpoint("w.npz", tmp_path, net())
