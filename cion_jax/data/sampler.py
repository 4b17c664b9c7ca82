"""Which images stand together in a batch: P identities x N images, a pure function of (seed, step).

One epoch is planned as a whole. The images of an identity are shuffled and cut into groups of N. What is left, fewer
than N images, is an incomplete group:

- rule "fill" completes it with images drawn again from the same identity, so m images give ceil(m / N) groups;
- rule "drop" leaves it out of this epoch, so m images give m // N groups.

Under both rules an identity with fewer than N images gives one group: all its images, and some of them again.

A batch takes P groups of P different identities. An identity therefore has at most T of its groups in an epoch of T
batches, and sum(min(groups, T)) groups can be used. The length T follows from the data set, P and N alone:

- "fill": the largest T with sum(min(groups, T)) > P * (T - 1), that is, an epoch goes on as long as a batch holds a
  group that was not used. Fewer than P places stay empty; extra groups of random identities take them.
- "drop": the largest T with sum(min(groups, T)) >= P * T. Fewer than P groups are too many; random ones are dropped.

So under "fill" every image is used at least once in every epoch, with one exception: an identity with more than T * N
images stands in every batch, and T * N of its images are used, others in each epoch.

The groups are laid out one identity after the other in a P x T grid, row by row; an identity has at most T groups, so
no column (batch) meets it twice (McNaughton's wrap-around rule). Shuffling inside each row keeps that, as long as the
identities that wrap from one row into the next stay where they are.
"""

import dataclasses

import numpy as np

from cion_jax.core.errors import UserError

FILL, DROP = "fill", "drop"
RULES = (FILL, DROP)
RULE_KEY = "data.incomplete_groups"


@dataclasses.dataclass(frozen=True)
class EpochUse:
    """What one epoch makes of a data set (counts of images, identities and batches).

    `images_left_out` are not used in an epoch; `images_drawn_again` is the number of places that repeat an image of the
    same epoch. Under the rule "fill" both are exact, under "drop" they are expectations.
    """

    batches: int
    identities: int
    images: int
    images_left_out: int
    images_drawn_again: int

    def sentence(self) -> str:
        """The counts as one line for the log."""
        used = (
            f"{self.images_left_out:,} images left out per epoch"
            if self.images_left_out
            else "every image at least once per epoch"
        )
        return (
            f"{self.batches:,} batches from {self.identities:,} identities and {self.images:,} images; {used}, "
            f"{self.images_drawn_again:,} images drawn again to fill up groups"
        )


class IdentitySampler:
    """Plans epochs of identity-grouped batches. Thread-safe.

    Args:
      identities: identity of every record, int [n]; a negative identity marks a record that is never drawn.
      identities_per_batch: P.
      images_per_identity: N.
      incomplete_groups: "fill" or "drop", see the head of this file.

    Raises:
      UserError: fewer than P identities, or an unknown rule.
    """

    def __init__(
        self,
        identities: np.ndarray,
        identities_per_batch: int,
        images_per_identity: int,
        incomplete_groups: str = FILL,
    ):
        if incomplete_groups not in RULES:
            raise UserError(f"{RULE_KEY}={incomplete_groups!r} is none of {', '.join(RULES)}")
        self._per_batch, self._per_identity = identities_per_batch, images_per_identity
        self._fill = incomplete_groups == FILL
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
        groups = -(-counts // images_per_identity) if self._fill else counts // images_per_identity
        groups = np.maximum(groups, 1)
        self.epoch_length = _longest_epoch(groups, identities_per_batch, self._fill)
        self._usable = np.minimum(groups, self.epoch_length)

    def use(self) -> EpochUse:
        """Counts of one epoch."""
        places = self.epoch_length * self._per_batch
        used = np.minimum(self._counts, self._usable * self._per_identity).sum()
        surplus = max(int(self._usable.sum()) - places, 0)  # groups dropped at random
        used = int(used) - round(surplus * used / self._usable.sum())
        images = int(self._counts.sum())
        return EpochUse(
            batches=self.epoch_length,
            identities=len(self._counts),
            images=images,
            images_left_out=images - used,
            images_drawn_again=places * self._per_identity - used,
        )

    def epoch(self, seed: int, epoch: int) -> np.ndarray:
        """Record indices of every batch of one epoch, int32 [T, P * N]; images of an identity stand together."""
        rng = np.random.Generator(np.random.PCG64(np.random.SeedSequence([seed, epoch, self._per_identity])))
        taken = self._groups_taken(rng)
        owner, number = self._lay_out(rng, taken)
        grid = _shuffle_rows(rng, owner.reshape(self._per_batch, self.epoch_length))
        batches = rng.permutation(self.epoch_length)
        place = grid.T[batches]  # [T, P], positions in `owner`
        return self._images(rng, owner[place], number[place]).reshape(self.epoch_length, -1)

    def _groups_taken(self, rng: np.random.Generator) -> np.ndarray:
        """Groups of each identity in this epoch, P * T in all: those usable, and a few more or fewer at random."""
        surplus = int(self._usable.sum()) - self.epoch_length * self._per_batch
        if surplus >= 0:
            return self._usable - _choose(rng, self._usable, surplus)
        return self._usable + _choose(rng, self.epoch_length - self._usable, -surplus)

    def _lay_out(self, rng: np.random.Generator, taken: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The groups one identity after the other: identity of each, and its number within the identity, [P * T]."""
        order = rng.permutation(len(taken))
        taken = taken[order]
        owner = np.repeat(order.astype(np.int32), taken)
        first = np.repeat(np.cumsum(taken) - taken, taken)
        number = (np.arange(len(owner)) - first).astype(np.int32)
        return owner, number

    def _images(self, rng: np.random.Generator, owner: np.ndarray, number: np.ndarray) -> np.ndarray:
        """Records of the groups, [T, P, N]: images in a fresh random order, drawn again where a group is short."""
        shuffle = np.argsort(
            np.repeat(np.arange(len(self._counts)), self._counts) + rng.random(len(self._records))
        )
        shuffled = self._records[shuffle]
        slot = np.arange(self._per_identity, dtype=np.int32)
        offset = number[..., None] * np.int32(self._per_identity) + slot
        counts = self._counts[owner].astype(np.int32)
        few = counts < self._per_identity
        offset[few] = self._all_and_some_again(rng, counts[few])
        incomplete = ~few & (offset[..., -1] >= counts)
        offset[incomplete] = self._completed(rng, offset[incomplete], counts[incomplete])
        return shuffled[self._starts[owner][..., None] + offset]

    def _all_and_some_again(self, rng: np.random.Generator, counts: np.ndarray) -> np.ndarray:
        """Places of the images of groups of identities with fewer than N images, int32 [groups, N]."""
        slot = np.arange(self._per_identity, dtype=np.int32)
        size = counts[:, None]
        again = (rng.random((len(size), self._per_identity)) * size).astype(np.int32)
        return np.where(slot < size, slot, again)

    def _completed(self, rng: np.random.Generator, offset: np.ndarray, counts: np.ndarray) -> np.ndarray:
        """Places of the images of incomplete groups of identities with at least N images, int32 [groups, N].

        Images drawn again are neighbors in the random order from a random start on, so no image is twice in a group.
        """
        slot = np.arange(self._per_identity, dtype=np.int32)
        # The images of earlier groups; an extra group has none of its own and draws from all.
        earlier = np.minimum(offset[:, :1], counts[:, None])
        start = (rng.random(earlier.shape) * earlier).astype(np.int32)
        return np.where(offset < counts[:, None], offset, (start + slot) % earlier)


def _longest_epoch(groups: np.ndarray, per_batch: int, fill: bool) -> int:
    """The length T as the head of this file defines it; 1 is feasible as soon as there are P identities."""

    def feasible(length: int) -> bool:
        usable = int(np.minimum(groups, length).sum())
        return usable > per_batch * (length - 1) if fill else usable >= per_batch * length

    low, high = 1, int(groups.sum()) // per_batch + 1
    while low < high:
        middle = (low + high + 1) // 2
        if feasible(middle):
            low = middle
        else:
            high = middle - 1
    return low


def _choose(rng: np.random.Generator, available: np.ndarray, count: int) -> np.ndarray:
    """How many of `count` random things, without replacement, fall to each owner of `available` ones, int [owners]."""
    chosen = rng.choice(int(available.sum()), count, replace=False)
    owners = np.searchsorted(np.cumsum(available), chosen, side="right")
    return np.bincount(owners, minlength=len(available))


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
