"""Which images stand together in a batch: P identities x N images, a pure function of (seed, step).

One epoch is planned as a whole. An identity with m images gives max(1, m // N) groups of N images. A batch takes P
groups of different identities, so an epoch can be cut into T batches exactly if

    sum over identities of min(groups, T) >= P * T,

and the largest such T is the epoch's length: it depends on the data set, P and N alone. The groups are then laid
out one identity after the other in a P x T grid, row by row; an identity has at most T groups, so no column (batch)
meets it twice (McNaughton's wrap-around rule). Shuffling inside each row keeps that, as long as the identities that
wrap from one row into the next stay where they are.
"""

import dataclasses

import numpy as np

from cion_jax.core.errors import UserError


@dataclasses.dataclass(frozen=True)
class EpochUse:
    """What one epoch makes of a data set (counts of images, identities and batches)."""

    batches: int
    identities: int
    images: int
    images_left_out: int
    identities_filled_up: int

    def sentence(self) -> str:
        """The counts as one line for the log."""
        return (
            f"{self.batches:,} batches from {self.identities:,} identities and {self.images:,} images; "
            f"{self.images_left_out:,} images left out per epoch, "
            f"{self.identities_filled_up:,} identities filled up by drawing images again"
        )


class IdentitySampler:
    """Plans epochs of identity-grouped batches.

    Args:
      identities: identity of every record, int [n]; a negative identity marks a record that is never drawn.
      identities_per_batch: P.
      images_per_identity: N.

    Raises:
      UserError: fewer than P identities.
    """

    def __init__(self, identities: np.ndarray, identities_per_batch: int, images_per_identity: int):
        self._per_batch, self._per_identity = identities_per_batch, images_per_identity
        identities = np.asarray(identities)
        order = np.argsort(identities, kind="stable")
        self._records = order[np.searchsorted(identities[order], 0) :].astype(np.int32)
        _, starts, counts = np.unique(identities[self._records], return_index=True, return_counts=True)
        if len(counts) < identities_per_batch:
            raise UserError(
                f"the training data has {len(counts)} identities, but a batch of "
                f"{identities_per_batch * images_per_identity} images with {images_per_identity} images per identity "
                f"needs {identities_per_batch}: lower --config.data.batch_size or add data"
            )
        self._starts, self._counts = starts, counts
        self._groups = np.maximum(counts // images_per_identity, 1)
        self.epoch_length = _longest_epoch(self._groups, identities_per_batch)
        self._usable = np.minimum(self._groups, self.epoch_length)

    def use(self) -> EpochUse:
        """Counts of one epoch; the images left out are an expectation over the few groups dropped at random."""
        drawn = np.minimum(self._counts, self._usable * self._per_identity).sum()
        surplus = self._usable.sum() - self.epoch_length * self._per_batch
        left_out = int(self._counts.sum() - drawn + round(surplus * drawn / self._usable.sum()))
        return EpochUse(
            batches=self.epoch_length,
            identities=len(self._counts),
            images=int(self._counts.sum()),
            images_left_out=left_out,
            identities_filled_up=int((self._counts < self._per_identity).sum()),
        )

    def epoch(self, seed: int, epoch: int) -> np.ndarray:
        """Record indices of every batch of one epoch, int32 [T, P * N]; images of an identity stand together."""
        rng = np.random.Generator(np.random.PCG64(np.random.SeedSequence([seed, epoch, self._per_identity])))
        taken = self._drop_surplus(rng)
        owner, number = self._lay_out(rng, taken)
        grid = _shuffle_rows(rng, owner.reshape(self._per_batch, self.epoch_length))
        batches = rng.permutation(self.epoch_length)
        place = grid.T[batches]  # [T, P], positions in `owner`
        return self._images(rng, owner[place], number[place]).reshape(self.epoch_length, -1)

    def _drop_surplus(self, rng: np.random.Generator) -> np.ndarray:
        """Groups taken of each identity: those usable, less as many random ones as overfill the last batch."""
        total = int(self._usable.sum())
        surplus = total - self.epoch_length * self._per_batch
        victims = np.searchsorted(
            np.cumsum(self._usable), rng.choice(total, surplus, replace=False), side="right"
        )
        return self._usable - np.bincount(victims, minlength=len(self._usable))

    def _lay_out(self, rng: np.random.Generator, taken: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The groups one identity after the other: identity of each, and its number within the identity, [P * T]."""
        order = rng.permutation(len(taken))
        taken = taken[order]
        owner = np.repeat(order.astype(np.int32), taken)
        first = np.repeat(np.cumsum(taken) - taken, taken)
        number = (np.arange(len(owner)) - first).astype(np.int32)
        return owner, number

    def _images(self, rng: np.random.Generator, owner: np.ndarray, number: np.ndarray) -> np.ndarray:
        """Records of the groups, [T, P, N]: images in a fresh random order, drawn again where an identity is short."""
        shuffle = np.argsort(
            np.repeat(np.arange(len(self._counts)), self._counts) + rng.random(len(self._records))
        )
        shuffled = self._records[shuffle]
        slot = np.arange(self._per_identity, dtype=np.int32)
        offset = number[..., None] * np.int32(self._per_identity) + slot
        short = self._counts[owner] < self._per_identity
        size = self._counts[owner[short]][:, None]
        again = (rng.random((len(size), self._per_identity)) * size).astype(np.int32)
        offset[short] = np.where(slot < size, slot, again)
        return shuffled[self._starts[owner][..., None] + offset]


def _longest_epoch(groups: np.ndarray, per_batch: int) -> int:
    """The largest T with sum(min(groups, T)) >= per_batch * T; 1 is feasible as soon as there are P identities."""
    low, high = 1, int(groups.sum()) // per_batch
    while low < high:
        middle = (low + high + 1) // 2
        if np.minimum(groups, middle).sum() >= per_batch * middle:
            low = middle
        else:
            high = middle - 1
    return low


def _shuffle_rows(rng: np.random.Generator, grid: np.ndarray) -> np.ndarray:
    """Shuffles a [P, T] grid of identities inside each row, but for the identities that wrap into the next row.

    Returns:
      For every place of the grid the flat position that comes to stand there, int64 [P, T].
    """
    rows, columns = grid.shape
    positions = np.arange(grid.size).reshape(rows, columns)
    for row in range(rows):
        free = np.ones(columns, bool)
        if row > 0:
            free &= grid[row] != grid[row - 1, -1]
        if row + 1 < rows:
            free &= grid[row] != grid[row + 1, 0]
        places = np.flatnonzero(free)
        positions[row, places] = positions[row, rng.permutation(places)]
    return positions
