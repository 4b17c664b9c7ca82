"""Weight files made to hang a reader or to fill its memory: each is refused, at once and in little memory."""

import importlib.util
import struct
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest

from cion_jax import bridge
from tests.bridge import weight_files
from tests.bridge.test_pickles import archive, dictionary, number, tensor, text

PROGRAM = Path(weight_files.__file__)
# Processor time of a load, of which it takes a third on an idle machine, and memory besides that of the interpreter.
SECONDS, MEGABYTES = "3.0", "100"


def nested_tuples(depth):
    """A tuple of two of the one before: to hash it takes 2**depth steps."""
    return b")" + b"q\x01h\x01\x86" * depth


def wrapped(depth):
    """{"teacher": {"teacher": ... {}}}."""
    return b"}" + (text("teacher") + b"}") * depth + b"s" * depth


def long_text(claimed):
    return b"\x8d" + struct.pack("<Q", claimed) + b"x"


FLOAT = struct.pack("<f", 1.0)
HOSTILE = {
    "contains-itself": (b"}q\x00" + text("teacher") + b"h\x00s", {}),
    "nested-deeply": (wrapped(100_000), {}),
    "zero-strides": (dictionary(w=tensor(count=1, size=(30_000, 30_000), stride=(0, 0))), {"0": FLOAT}),
    "zero-strides-terabytes": (
        dictionary(w=tensor(count=1, size=(10**6, 10**6), stride=(0, 0))),
        {"0": FLOAT},
    ),
    "huge-size-of-nothing": (
        dictionary(w=tensor(count=1, size=(0, *[2**31 - 1] * 60), stride=(1,) * 61)),
        {"0": FLOAT},
    ),
    "many-dimensions": (dictionary(w=tensor(count=1, size=(1,) * 9000, stride=(1,) * 9000)), {"0": FLOAT}),
    "memo-index": (b"Nr" + struct.pack("<I", 2**28) + b"0" + dictionary(w=number(1)), {}),
    "largest-memo-index": (b"Nr" + struct.pack("<I", 2**32 - 1) + b"0" + dictionary(w=number(1)), {}),
    "BINBYTES8": (b"\x8e" + struct.pack("<Q", 2**40) + b"0", {}),
    "BYTEARRAY8": (b"\x96" + struct.pack("<Q", 2**33) + b"0", {}),
    "BINUNICODE8": (long_text(2**33), {}),
    "FRAME": (b"\x95" + struct.pack("<Q", 2**60) + dictionary(w=number(1)), {}),
    "LONG4": (b"\x8b" + struct.pack("<i", 2**31 - 1) + b"1", {}),
    "many-instructions": (b"]" * 2_000_000, {}),
    "key-that-is-slow-to-hash": (b"}" + nested_tuples(60) + b"Ns", {}),
    "key-that-is-nested-deeply": (b"}" + b")" + b"\x85" * 900_000 + b"Ns", {}),
    "storage-name-that-is-slow-to-print": (
        b"("
        + text("storage")
        + b"ctorch\nFloatStorage\n"
        + nested_tuples(60)
        + text("cpu")
        + number(1)
        + b"tQ",
        {},
    ),
    "name-of-megabytes": (b"c" + b"x" * 3_000_000 + b"\ny\n", {}),
    "keys-of-megabytes": (b"}(" + (text("x" * 1_000_000) + b"N") * 2 + b"u", {}),
    "storage-said-to-be-larger": (
        dictionary(w=tensor(count=2**31 - 1, size=(1,), stride=(1,))),
        {"0": FLOAT},
    ),
}


def zip_bomb(folder):
    """261 KB that unpack to 256 MB."""
    path = folder / "bomb.pth"
    code = b"\x80\x02" + dictionary(w=tensor(count=2**26, size=(2**26,), stride=(1,))) + b"."
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as file:
        file.writestr("archive/data.pkl", code)
        with file.open("archive/data/0", "w") as entry:
            for _ in range(2**8):
                entry.write(bytes(2**20))
    assert path.stat().st_size < 300_000
    return path


def overlapping_entries(folder):
    """The directory names the same 4,000 bytes eleven times."""
    path = archive(folder / "overlap.pth", dictionary(w=tensor()), {"0": bytes(4000)})
    content = path.read_bytes()
    end_at = content.index(b"PK\x05\x06")
    entry = content[content.rindex(b"PK\x01\x02") : end_at]
    end = bytearray(content[end_at:])
    end[8:10] = end[10:12] = struct.pack("<H", 12)
    (directory,) = struct.unpack("<I", end[12:16])
    end[12:16] = struct.pack("<I", directory + 10 * len(entry))
    path.write_bytes(content[:end_at] + entry * 10 + end)
    return path


def long_directory(folder):
    path = folder / "directory.pth"
    with zipfile.ZipFile(path, "w") as file:
        for place in range(40_000):
            file.writestr(f"archive/data/{place}", b"")
    return path


def safetensors(header, data=b"", length=None):
    header = header.encode() if isinstance(header, str) else header
    return struct.pack("<Q", len(header) if length is None else length) + header + data


LYING = {
    "length-beyond-the-file": safetensors("{}", length=10**6),
    "length-of-everything": safetensors("{}", length=2**64 - 1),
    "long-header": safetensors("{" + " " * (2**23) + "}"),
    "offsets-beyond-the-file": safetensors('{"w":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}}', b"1234"),
    "offsets-in-turn": safetensors('{"w":{"dtype":"F32","shape":[1],"data_offsets":[4,0]}}', b"1234"),
    "shape-of-terabytes": safetensors(
        '{"w":{"dtype":"F32","shape":[1000000,1000000],"data_offsets":[0,4]}}', b"1234"
    ),
    "shape-that-overflows": safetensors(
        '{"w":{"dtype":"F32","shape":[4294967296,4294967296,4294967296],"data_offsets":[0,4]}}', b"1234"
    ),
    "shape-of-nothing": safetensors(
        '{"w":{"dtype":"F32","shape":[0,18446744073709551615],"data_offsets":[0,0]}}'
    ),
    "nested-deeply": safetensors("[" * 100_000),
    "two-tensors-in-one-place": safetensors(
        '{"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]},"b":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}}',
        b"1234",
    ),
    "unknown-numbers": safetensors('{"w":{"dtype":"C64","shape":[1],"data_offsets":[0,8]}}', b"12345678"),
    "no-text": safetensors(b"\xff\xfe{}"),
    "shorter-than-a-length": b"\x00\x00",
    "empty": b"",
}


KINDS_OF_ZIP = {"bomb": zip_bomb, "overlap": overlapping_entries, "directory": long_directory}


def truncated(folder):
    """Paths of all kinds of files cut off at forty places."""
    for kind in weight_files.KINDS:
        content = weight_files.valid(kind)
        for size in range(0, len(content) - 1, len(content) // 40):
            path = folder / f"{size}.{kind}"
            path.write_bytes(content[:size])
            yield path


@pytest.fixture(scope="module")
def answers(tmp_path_factory):
    """What `load_file` says of all files, by their names. One process loads them: starting it takes longer."""
    folder = tmp_path_factory.mktemp("hostile")
    paths = [archive(folder / f"{name}.pth", *content) for name, content in HOSTILE.items()]
    paths += [write(folder) for write in KINDS_OF_ZIP.values()]
    for name, content in LYING.items():
        paths.append(folder / f"{name}.safetensors")
        paths[-1].write_bytes(content)
    paths += truncated(folder)
    command = [sys.executable, PROGRAM, "load", SECONDS, MEGABYTES, *map(str, paths)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, cwd=PROGRAM.parents[2])
    lines = done.stdout.splitlines()
    assert done.returncode == 0, f"exit code {done.returncode} at {paths[len(lines)]}: {done.stderr[-1000:]}"
    return dict(zip((path.name for path in paths), lines, strict=True))


@pytest.mark.parametrize("name", [f"{name}.pth" for name in (*HOSTILE, *KINDS_OF_ZIP)])
def test_a_hostile_file_is_refused_at_once(answers, name):
    assert answers[name].startswith("UserError"), answers[name]
    assert len(answers[name]) < 2000, "a message that nobody can read"


def test_zip_archives_are_refused_for_what_is_wrong(answers):
    assert "compressed" in answers["bomb.pth"]
    assert "claim" in answers["overlap.pth"]
    assert "directory" in answers["directory.pth"]


@pytest.mark.parametrize("name", LYING)
def test_a_safetensors_header_that_lies_is_refused(answers, name):
    assert answers[f"{name}.safetensors"].startswith("UserError"), answers[f"{name}.safetensors"]


def test_every_truncation_is_refused(answers):
    found = [line for name, line in answers.items() if name.split(".")[0].isdigit()]
    assert len(found) > 100 and all(line.startswith("UserError") for line in found)


def test_mutated_files_give_a_user_error_or_tensors():
    """2,400 mutations: of bytes anywhere, of the pickle's instructions under right checksums, of the header."""
    command = [sys.executable, PROGRAM, "fuzz", SECONDS, MEGABYTES, "0", "2400"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=240, cwd=PROGRAM.parents[2])
    assert done.returncode == 0, (
        f"exit code {done.returncode} (-27: out of time). To see it again: {' '.join(map(str, command))}\n"
        f"{done.stdout[-500:]}{done.stderr[-3000:]}"
    )
    refused, read = map(int, done.stdout.split()[-2:])
    assert refused + read == 2400 and refused > 1000 and read > 100, "the mutations are not of both kinds"


def test_the_unaltered_files_are_read(tmp_path):
    for kind in weight_files.KINDS:
        path = tmp_path / f"w.{kind}"
        path.write_bytes(weight_files.valid(kind))
        loaded = bridge.load_file(path)
        assert loaded.keys() == weight_files.STATE.keys()
        for key, value in weight_files.STATE.items():
            np.testing.assert_array_equal(loaded[key], value)


@pytest.mark.skipif(importlib.util.find_spec("torch") is None, reason="needs PyTorch")
@pytest.mark.parametrize("kind", ["pth", "old.pth"])
def test_the_unaltered_files_are_pytorchs(tmp_path, kind):
    import torch

    path = tmp_path / f"w.{kind}"
    path.write_bytes(weight_files.valid(kind))
    theirs = torch.load(path, weights_only=True)["teacher"]
    for key, value in weight_files.STATE.items():
        np.testing.assert_array_equal(theirs[key].numpy(), value)
