"""Features of many images: padded batches in, one array in the order of the records out."""

import io
from collections.abc import Callable, Iterable, Iterator, Mapping

import jax
import jax.numpy as jnp
import numpy as np
from jax.experimental import multihost_utils
from jax.sharding import Mesh

from cion_jax.core.errors import UserError
from cion_jax.core.mesh import batch_sharding
from cion_jax.core.progress import Progress

ApplyFunction = Callable[[jax.Array, jax.Array], jax.Array]


def extract(
    apply_fn: ApplyFunction,
    batches: Iterable[Mapping[str, np.ndarray]],
    *,
    total: int,
    mesh: Mesh | None = None,
    label: str = "features",
    require_finite: bool = True,
) -> np.ndarray:
    """Runs a model over images, on all devices of `mesh`; the host decodes one batch while the device has
    another.

    In a run of several processes each yields its own part of every batch: batch t of process p holds the rows
    (t * processes + p) * b and following of the whole order, and all yield equally many batches. Every
    process returns all rows.

    Args:
      apply_fn: (images uint8 [b, height, width, 3], sizes int32 [b, 2]) -> features [b, d]; a jitted function
        that has its weights as an argument, as in partial(jitted, variables): weights closed over are
        constants.
      batches: mappings with host arrays of one shape each, "image" and "size" as above, "valid" bool [b],
        false in the rows that only fill up the last batch, and maybe "record" int [b], which serves the
        error.
      total: number of valid rows, over all processes.
      mesh: the rows are split over all its axes; without it one process computes on its default device.
      label: what the progress display calls this.
      require_finite: False returns features that are not finite as they are.

    Returns:
      float32 [total, d].

    Raises:
      UserError: a feature is not finite, with `require_finite`; the first record concerned is named.
      ValueError: another number of valid rows than `total`, or rows that do not divide by the devices.
    """
    processes = len({device.process_index for device in mesh.devices.flat}) if mesh is not None else 1
    local = mesh.local_mesh.size if mesh is not None else 1
    check = _finite if require_finite else lambda found, *_: found
    parts = _overlapped(apply_fn, batches, _transfers(mesh), local, check)
    return collect_rows(parts, total=total, processes=processes, label=label)


def collect_rows(
    parts: Iterable[tuple[np.ndarray, np.ndarray]], *, total: int, processes: int = 1, label: str = "features"
) -> np.ndarray:
    """The valid rows of all parts in one array, in the order of the set; shows progress.

    Args:
      parts: (float32 [b, d], valid bool [b]) of each batch; with several processes this one's rows, as in `extract`.
      total: number of valid rows, over all processes.
      processes: processes that share every batch. Each returns all rows.
      label: what the progress display calls this.

    Returns:
      float32 [total, d]. One process holds this array and one part at a time.

    Raises:
      ValueError: another number of valid rows than `total`, or no part at all.
    """
    quiet = io.StringIO() if jax.process_index() else None
    with Progress(label, total, stream=quiet) as progress:
        counted = _count_rows(parts, progress, processes, total)
        return _gather(counted, total) if processes > 1 else _fill(counted, total)


def _count_rows(
    parts, progress: Progress, processes: int, total: int
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    done = 0
    for values, valid in parts:
        valid = np.asarray(valid, bool)
        yield values, valid
        # The last batch's padding may be another process's: never more than there are.
        count = min(int(valid.sum()) * processes, total - done)
        progress.advance(count)
        done += count


def _fill(parts: Iterable[tuple[np.ndarray, np.ndarray]], total: int) -> np.ndarray:
    result, row = None, 0
    for values, valid in parts:
        if result is None:
            result = np.empty((total, *values.shape[1:]), np.float32)
        count = int(valid.sum())
        if row + count <= total:
            result[row : row + count] = values[valid]
        row += count
    _check_total(row, total)
    return result


def _gather(parts: Iterable[tuple[np.ndarray, np.ndarray]], total: int) -> np.ndarray:
    values, valid = zip(*parts, strict=True)
    rows = _in_order(np.stack(values))[_in_order(np.stack(valid))]
    _check_total(len(rows), total)
    return rows


def _check_total(found: int, total: int) -> None:
    if found != total or not total:
        raise ValueError(f"the batches held {found} valid rows where {total} were expected")


def _overlapped(
    apply_fn: Callable,
    batches: Iterable[Mapping[str, np.ndarray]],
    transfers: tuple[Callable, Callable],
    local: int,
    check: Callable[[np.ndarray, Mapping[str, np.ndarray], int], np.ndarray],
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Features and validity of each batch; the device has one batch while the host decodes the next."""
    place, fetch = transfers
    waiting = None

    def fetched(number: int) -> tuple[np.ndarray, np.ndarray]:
        batch, features = waiting
        return check(fetch(features), batch, number), batch["valid"]

    number = -1
    for number, batch in enumerate(batches):
        rows = len(batch["valid"])
        if rows % local:
            raise ValueError(f"batches of {rows} rows do not divide by the {local} devices of this process")
        dispatched = batch, apply_fn(*place(batch["image"], batch["size"]))
        if waiting is not None:
            yield fetched(number - 1)
        waiting = dispatched
    if waiting is None:
        raise ValueError("there was no batch to extract features from")
    yield fetched(number)


def _transfers(mesh: Mesh | None) -> tuple[Callable, Callable]:
    """How host arrays get onto the devices, and how this process's rows of the features come back."""
    if mesh is None:
        return lambda *arrays: jax.device_put(arrays), lambda features: np.asarray(features, np.float32)
    sharding = batch_sharding(mesh)
    # The compiler may have chosen another layout for the features than that of the batch.
    by_rows = jax.jit(lambda features: features.astype(jnp.float32), out_shardings=sharding)

    def place(*arrays: np.ndarray) -> list[jax.Array]:
        return [jax.make_array_from_process_local_data(sharding, array) for array in arrays]

    def fetch(features: jax.Array) -> np.ndarray:
        shards = sorted(by_rows(features).addressable_shards, key=lambda shard: shard.index[0].start or 0)
        return np.concatenate([np.asarray(shard.data) for shard in shards])

    return place, fetch


def _finite(features: np.ndarray, batch: Mapping[str, np.ndarray], number: int) -> np.ndarray:
    """`features` as they are, if all valid rows are finite."""
    bad = ~np.isfinite(features).all(axis=1) & batch["valid"]
    if bad.any():
        row = int(bad.argmax())
        name = f"record {batch['record'][row]}" if "record" in batch else f"row {row} of batch {number}"
        raise UserError(
            f"the features of {name} are not finite ({bad.sum()} such rows in its batch): look at its image, "
            "and if all rows are concerned at the weights"
        )
    return features


def _in_order(parts: np.ndarray) -> np.ndarray:
    """Rows of the whole order [batches * processes * b, ...] from every process's [batches, b, ...]."""
    parts = multihost_utils.process_allgather(parts).swapaxes(0, 1)  # [batches, processes, b, ...]
    return parts.reshape(-1, *parts.shape[3:])
