"""What one record holds, and how it stands in a file: one `tf.train.Example` an image, as TFDS reads it."""

from dataclasses import dataclass

import numpy as np

# Numbers of the sidecar index (record_index.py). Identities may be -1: Market-1501's junk images of the
# gallery. Videos and frames are -1 where they are not known.
COLUMNS: dict[str, type] = {
    "identity": np.int64,
    "tracklet": np.int64,
    "video": np.int64,
    "camera": np.int32,
    "frame": np.int32,
    "height": np.int32,
    "width": np.int32,
}
FEATURES = ("image", *COLUMNS, "path")
SPLITS = ("train", "query", "gallery")


@dataclass(frozen=True, slots=True)
class Record:
    """One image of one person. `image` is a JPEG; `path` is the file it came from, within its data set.

    `video` and `frame` are -1 where they are not known.
    """

    image: bytes
    height: int
    width: int
    identity: int
    tracklet: int
    video: int
    camera: int
    frame: int
    path: str


def check(split: str, record: Record) -> None:
    """Raises ValueError when a number lies outside its column, or is negative where that means nothing."""
    for name, dtype in COLUMNS.items():
        value = getattr(record, name)
        unknown = name in ("video", "frame") or (name == "identity" and split == "gallery")
        lowest = -1 if unknown else 0
        if not lowest <= value <= np.iinfo(dtype).max:
            raise ValueError(f"{name} is {value}, outside {lowest}..{np.iinfo(dtype).max}")


def serialise(record: Record) -> bytes:
    """The record as a serialised `tf.train.Example`, as TFDS writes it for `tfds_features()`."""
    from tensorflow_datasets.proto import tf_example_pb2

    example = tf_example_pb2.Example()
    feature = example.features.feature
    feature["image"].bytes_list.value.append(record.image)
    feature["path"].bytes_list.value.append(record.path.encode(errors="backslashreplace"))
    for name in COLUMNS:
        feature[name].int64_list.value.append(getattr(record, name))
    return example.SerializeToString()


class RecordParser:
    """Turns serialised examples into records: the image stays a JPEG, no NumPy array is made."""

    def __init__(self):
        # Bound once: the import costs half a second and the attribute look-ups would be paid for every
        # record.
        from tensorflow_datasets.proto import tf_example_pb2

        self._parse = tf_example_pb2.Example.FromString

    def __call__(self, data: bytes) -> Record:
        """Raises ValueError when `data` is not an example of this schema."""
        try:
            feature = self._parse(data).features.feature
            return Record(
                feature["image"].bytes_list.value[0],
                feature["height"].int64_list.value[0],
                feature["width"].int64_list.value[0],
                feature["identity"].int64_list.value[0],
                feature["tracklet"].int64_list.value[0],
                feature["video"].int64_list.value[0],
                feature["camera"].int64_list.value[0],
                feature["frame"].int64_list.value[0],
                feature["path"].bytes_list.value[0].decode(),
            )
        except Exception as error:  # protobuf's DecodeError, or IndexError where a feature is missing
            raise ValueError(f"not a record of this schema: {error}") from error


def tfds_features():
    """The schema in TFDS's terms: a `tfds.features.FeaturesDict`. Does not import TensorFlow."""
    import tensorflow_datasets as tfds

    number = tfds.features.Scalar(np.int64)
    return tfds.features.FeaturesDict(
        {
            "image": tfds.features.Image(shape=(None, None, 3), encoding_format="jpeg"),
            **dict.fromkeys(COLUMNS, number),
            "path": tfds.features.Text(),
        }
    )
