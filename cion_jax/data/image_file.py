"""Reading the file of an image that a table or a folder names."""

import stat
from pathlib import Path


def read_image_file(path: Path | str) -> bytes:
    """The bytes of a regular file.

    A table may name anything: a pipe would be waited for, and a device like /dev/zero never ends.

    Raises:
      OSError: there is no such file, it cannot be read, or it is no regular file.
    """
    if not stat.S_ISREG(Path(path).stat().st_mode):
        raise OSError(f"{path} is no regular file")
    return Path(path).read_bytes()
