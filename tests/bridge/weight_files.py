"""Valid weight files, mutations of them, and a program that loads such files with little memory and time.

    python tests/bridge/weight_files.py load SECONDS MEGABYTES FILE ...
    python tests/bridge/weight_files.py fuzz SECONDS MEGABYTES FIRST_SEED COUNT

Both end with SIGPROF (-27) if a load takes more processor time. A mutation depends on its seed alone.
"""

import contextlib
import io
import random
import resource
import signal
import struct
import sys
import tempfile
import traceback
import zipfile
from pathlib import Path

if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).parents[2]))

import numpy as np
from safetensors.numpy import save as save_safetensors

from cion_jax import bridge
from cion_jax.core.errors import UserError
from tests.bridge import test_pickles as pickles

STATE = {
    "layer.0.weight": np.arange(6, dtype=np.float32).reshape(2, 3),
    "layer.0.bias": np.arange(3, dtype=np.float32),
    "count": np.arange(4, dtype=np.int64),
}
KINDS = ("pth", "old.pth", "safetensors")


def code(**tensors):
    """The pickle of a checkpoint with an optimizer's numbers and the teacher's STATE."""
    kinds = {np.dtype(np.float32): "FloatStorage", np.dtype(np.int64): "LongStorage"}
    entries = {
        key: pickles.tensor(
            str(place),
            kinds[value.dtype],
            value.size,
            size=value.shape,
            stride=[n // value.itemsize for n in value.strides],
        )
        for place, (key, value) in enumerate(STATE.items())
    }
    optimizer = pickles.dictionary(
        lr=b"G" + struct.pack(">d", 0.1), betas=b"K\x01K\x02\x86", steps=b"](K\x01K\x02e"
    )
    return pickles.dictionary(optimizer=optimizer, epoch=b"K\x07", teacher=pickles.dictionary(**entries))


def whole_pickle(old=False):
    """In the old format a reference to a storage ends with what part of another one it is, if it is one."""
    return b"\x80\x02" + (code().replace(b"tQ", b"NtQ") if old else code()) + b"."


def in_zip(pickle):
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("archive/data.pkl", pickle)
        archive.writestr("archive/byteorder", b"little")
        archive.writestr("archive/version", b"3\n")
        for place, value in enumerate(STATE.values()):
            archive.writestr(f"archive/data/{place}", value.tobytes())
    return file.getvalue()


def in_old_format(pickle):
    magic = b"\x8a\x0a" + (0x1950A86A20F9469CFC6C).to_bytes(10, "little")
    keys = b"](" + b"".join(pickles.text(str(place)) for place in range(len(STATE))) + b"e"
    start = [magic, b"M" + struct.pack("<H", 1001), pickles.dictionary(little_endian=b"\x88")]
    start = b"".join(b"\x80\x02" + part + b"." for part in start)
    numbers = b"".join(struct.pack("<q", value.size) + value.tobytes() for value in STATE.values())
    return start + pickle + b"\x80\x02" + keys + b"." + numbers


def valid(kind):
    """The content of a weight file that holds STATE."""
    if kind == "safetensors":
        return save_safetensors(STATE, metadata={"model": "vit_tiny", "mean": "[0.5, 0.5, 0.5]"})
    return in_zip(whole_pickle()) if kind == "pth" else in_old_format(whole_pickle(old=True))


def mutated(seed):
    """(kind of file, content) of one mutation."""
    rng = random.Random(seed)
    kind = rng.choice(KINDS)
    if kind == "safetensors":
        return kind, altered(valid(kind), rng, favoured=400)
    if rng.random() < 0.3:
        return kind, altered(valid(kind), rng, favoured=len(valid(kind)))
    # The pickle alone, so that checksums do not give it away.
    pickle = altered(whole_pickle(old=kind == "old.pth"), rng, favoured=10**6)
    return kind, in_zip(pickle) if kind == "pth" else in_old_format(pickle)


def altered(content, rng, favoured):
    """One to four changes within the first `favoured` bytes: of a byte, a number, a piece put in, out or elsewhere."""
    content = bytearray(content)
    for _ in range(rng.choice((1, 1, 1, 2, 4))):
        place = rng.randrange(min(len(content), favoured) or 1)
        length = rng.choice((1, 2, 4, 8, 30))
        number = rng.choice((0, 1, 2**31 - 1, 2**32 - 1, 2**40, 2**63 - 1, 2**64 - 1)).to_bytes(8, "little")
        change = rng.randrange(7)
        if change == 0:
            content[place : place + 1] = bytes([rng.randrange(256)])
        elif change == 1:
            content[place : place + 1] = bytes([content[place] ^ (1 << rng.randrange(8))]) if content else b""
        elif change == 2:
            content[place : place + length] = number[:length]
        elif change == 3:
            content[place:place] = rng.randbytes(length)
        elif change == 4:
            del content[place : place + length]
        elif change == 5:
            source = rng.randrange(len(content) or 1)
            content[place:place] = content[source : source + length]
        else:
            # An instruction of a pickle, with an argument that may be huge.
            content[place:place] = (
                bytes([rng.choice(b"rj\x8d\x8e\x96\x95\x8bX(q2tRQbuse}])\x85\x86\x87")]) + number
            )
    return bytes(content)


def answer(path):
    """A line on what loading the file gave."""
    with contextlib.suppress(UserError):
        bridge.load_metadata(path)
    try:
        loaded = bridge.load_file(path)
    except UserError as error:
        return "UserError: " + " ".join(str(error).split())
    size = path.stat().st_size
    for key, value in loaded.items():
        assert type(key) is str and type(value) is np.ndarray, (key, type(value))
        assert value.nbytes <= size, f"{value.nbytes} bytes from a file of {size}"
        value.copy()  # reads all of it: a view beyond its storage would end the process
    return f"read {len(loaded)}"


def limit(megabytes):
    """Of memory, on top of what the process has."""
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    bound = pages * resource.getpagesize() + megabytes * 2**20
    resource.setrlimit(resource.RLIMIT_AS, (bound, bound))


def main(what, seconds, megabytes, *rest):
    signal.signal(signal.SIGPROF, signal.SIG_DFL)
    limit(int(megabytes))
    if what == "load":
        for path in rest:
            signal.setitimer(signal.ITIMER_PROF, float(seconds))
            print(answer(Path(path)), flush=True)
        return
    counts = {"UserError": 0, "read": 0}
    first, count = map(int, rest)
    with tempfile.TemporaryDirectory() as folder:
        for seed in range(first, first + count):
            kind, content = mutated(seed)
            path = Path(folder) / f"w.{kind}"
            path.write_bytes(content)
            signal.setitimer(signal.ITIMER_PROF, float(seconds))
            try:
                counts[answer(path).split()[0].rstrip(":")] += 1
            except BaseException:
                print(f"seed {seed}, {kind}", file=sys.stderr)
                traceback.print_exc()
                raise
    print(*counts.values())


if __name__ == "__main__":
    main(*sys.argv[1:])
