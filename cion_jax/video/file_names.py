"""Names of the files that belong to a video, where its own name is too long for them."""

import hashlib
import os
import re

# File systems allow names of 255 bytes. Our own suffixes, and those of temporary files, take up to 30 of them.
_LONGEST_PART = 200
_KEPT_PART = 120  # bytes of a long name that stay readable before its hash
_LONGEST_NAME = 1500  # bytes of a path within the target; Linux allows 4,096 for a whole path


def file_name(name: str) -> str:
    """The path under which the files of a video lie: its name, with parts that are too long cut and given a hash."""
    parts = [_short(part) for part in name.split("/")]
    if len(os.fsencode("/".join(parts))) > _LONGEST_NAME:
        return _hash(name)
    return "/".join(parts)


def _short(part: str) -> str:
    data = os.fsencode(part)
    if len(data) <= _LONGEST_PART:
        return part
    kept = data[:_KEPT_PART].decode(errors="ignore")
    suffix = re.search(r"(\.[A-Za-z0-9]{1,5})?$", part)[0]
    return f"{kept}~{_hash(part)}{suffix}"


def _hash(text: str) -> str:
    return hashlib.sha256(os.fsencode(text)).hexdigest()[:32]
