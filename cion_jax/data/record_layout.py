"""The splits and files of a prepared data set, from its TFDS metadata.

The metadata are read as data. `tfds.builder_from_directory` imports the Python classes that features.json names, which
would let a downloaded folder run code of its own; only TFDS's parser of dataset_info.json and its rules for file names
are used here.
"""

import json
from pathlib import Path
from typing import Any

from cion_jax.core.errors import UserError
from cion_jax.data.record_schema import FEATURES
from cion_jax.data.record_shards import Shard

INFO_FILE = "dataset_info.json"
FEATURES_FILE = "features.json"
FILE_FORMAT = "array_record"


def read_layout(directory: Path) -> dict[str, list[Shard]]:
    """The files of every split, in order.

    Raises:
      UserError: no prepared data set, damaged metadata, another schema or file format, or a file outside the folder.
    """
    if not directory.is_dir():
        raise UserError(f"{directory} does not exist or is no folder.")
    if not (directory / INFO_FILE).is_file():
        raise UserError(
            f"{directory} holds no {INFO_FILE}: it is not a prepared data set, or an incomplete one. "
            "Run the task 'prepare' on the original data."
        )
    features = _feature_names(directory / FEATURES_FILE)
    if missing := [name for name in FEATURES if name not in features]:
        raise UserError(f"{directory} is a TFDS data set of another schema: it lacks {', '.join(missing)}.")
    info = _info(directory / INFO_FILE)
    if info.file_format != FILE_FORMAT:
        raise UserError(f"{directory} is stored as {info.file_format or 'tfrecord'}, not as {FILE_FORMAT}.")
    return _splits(directory, info)


def _feature_names(file: Path) -> set[str]:
    try:
        return set(json.loads(file.read_text())["featuresDict"]["features"].keys())
    except (OSError, ValueError, LookupError, TypeError, AttributeError, RecursionError) as error:
        raise _unreadable(file, error) from error


def _info(file: Path) -> Any:
    """The message `DatasetInfo` of TFDS."""
    from google.protobuf import json_format
    from tensorflow_datasets.core.proto import dataset_info_pb2

    try:
        # A newer TFDS may have written fields that this one does not know.
        return json_format.Parse(
            file.read_text(),
            dataset_info_pb2.DatasetInfo(),
            ignore_unknown_fields=True,
            max_recursion_depth=100,
        )
    except (OSError, ValueError, json_format.Error, RecursionError) as error:
        raise _unreadable(file, error) from error


def _splits(directory: Path, info: Any) -> dict[str, list[Shard]]:
    from tensorflow_datasets.core.naming import ShardedFileTemplate
    from tensorflow_datasets.core.splits import SplitDict

    found = {}
    try:
        template = ShardedFileTemplate(
            data_dir=directory, dataset_name=info.name, filetype_suffix=info.file_format
        )
        for name, split in SplitDict.from_proto(info.splits, template).items():
            files = [Path(file) for file in split.filepaths]
            found[name] = [Shard(*pair) for pair in zip(files, split.shard_lengths, strict=True)]
    except (ValueError, LookupError, TypeError, AttributeError) as error:  # of templates that do not format
        raise _unreadable(directory / INFO_FILE, error) from error
    for name, shards in found.items():
        if any(shard.file.parent != directory or shard.file.name in ("", "..") for shard in shards):
            raise UserError(
                f"{directory / INFO_FILE} places files of the split {name!r} outside its folder (filepathTemplate). "
                "Do not use this data set unless you know where it comes from."
            )
        if any(shard.count < 0 for shard in shards):
            raise _unreadable(directory / INFO_FILE, f"negative length in the split {name!r}")
    return found


def _unreadable(file: Path, reason: object) -> UserError:
    return UserError(
        f"the TFDS metadata {file} cannot be read: {str(reason)[:500] or repr(reason)}. "
        "Copy the data set again or prepare it anew."
    )
