"""Identity-guided self-distillation: the loss of CION in closed form, and the centre of the teacher.

Cross-entropy against a fixed distribution is linear in the student's logits but for one log-sum-exp,

    H(q, p) = lse(z) - <q, z>        (q sums to one, z = student / temperature),

so the sum over all pairs of images of one identity and all pairs of views needs sums of q and z over the identity,
never the pairs themselves: O(views x batch x K) instead of O(views^2 x images_per_identity x batch x K).
"""

from typing import Literal

import jax
import jax.numpy as jnp

Pairs = Literal["official", "eq9"]
TEACHER_VIEWS = 2


def teacher_probabilities(teacher: jax.Array, center: jax.Array, temperature: float = 0.04) -> jax.Array:
    """Centred and sharpened teacher outputs: softmax((teacher - center) / temperature) in float32.

    Args:
      teacher: raw head outputs, [..., K].
      center: running mean of raw teacher outputs, [K].
      temperature: the teacher's temperature; the smaller, the sharper.

    Returns:
      Probabilities, float32 [..., K].
    """
    shifted = teacher.astype(jnp.float32) - center.astype(jnp.float32)
    return jax.nn.softmax(shifted / temperature, axis=-1)


def identity_loss(
    student: jax.Array,
    teacher: jax.Array,
    center: jax.Array,
    *,
    images_per_identity: int,
    student_temp: float = 0.1,
    teacher_temp: float = 0.04,
    pairs: Pairs = "official",
) -> jax.Array:
    """Cross-entropy between teacher and student over all images and views of an identity.

    Views 0 and 1 of the student are the global views that the teacher sees. Images of one identity stand together:
    rows p * n .. p * n + n - 1 belong to identity p, with n = images_per_identity. With n = 1 this is DINO's loss.

    Args:
      student: raw head outputs, [views, batch, K], any float type.
      teacher: raw head outputs, [2, batch, K]; takes no gradient.
      center: [K]; takes no gradient.
      images_per_identity: n.
      student_temp: temperature of the student.
      teacher_temp: temperature of the teacher.
      pairs: "official" weighs the pairs as the released code does: a pair of equal view index is left out also
        between different images, and the mean same-image term weighs as much as one of the n (n - 1) cross terms.
        "eq9" is the sum of Eq. 9, as the mean over its terms: only the identical view of the identical image is
        left out.

    Returns:
      The loss, a float32 scalar.

    Raises:
      ValueError: shapes that do not fit together, or an unknown `pairs`.

    Source: CION, Eq. 8 and 9, and the authors' released code.
    """
    _check(student, teacher, center, images_per_identity, pairs)
    views, batch, _ = student.shape
    n = images_per_identity
    targets = jax.lax.stop_gradient(teacher_probabilities(teacher, center, teacher_temp))
    logits = student.astype(jnp.float32) / student_temp
    normaliser = jax.nn.logsumexp(logits, axis=-1)  # [views, batch]
    summed = jnp.sum(logits, axis=0)  # [batch, K]: over the views
    global_views = logits[:TEACHER_VIEWS]

    if pairs == "official":
        # Sums over the student views b != a, for every teacher view a: [2, batch, K] and [2, batch].
        others = summed[None] - global_views
        others_normaliser = jnp.sum(normaliser, axis=0)[None] - normaliser[:TEACHER_VIEWS]
        same = jnp.sum(others_normaliser) - jnp.sum(targets * others)
        every = n * jnp.sum(others_normaliser) - jnp.sum(_per_identity(targets, n) * _per_identity(others, n))
        identities = batch // n
        weighted = same / batch + (every - same) / identities
        return weighted / ((n * (n - 1) + 1) * TEACHER_VIEWS * (views - 1))

    every = TEACHER_VIEWS * n * jnp.sum(normaliser) - jnp.sum(
        _per_identity(jnp.sum(targets, axis=0), n) * _per_identity(summed, n)
    )
    identical = jnp.sum(normaliser[:TEACHER_VIEWS]) - jnp.sum(targets * global_views)
    terms = batch * TEACHER_VIEWS * (views * n - 1)
    return (every - identical) / terms


def update_center(center: jax.Array, teacher: jax.Array, *, momentum: float = 0.9) -> jax.Array:
    """Moves the centre towards the mean of the raw teacher outputs.

    Call it after the loss. Under jit over a sharded batch the mean runs over all devices.

    Args:
      center: [K].
      teacher: raw head outputs, [2, batch, K], or their mean [K].
      momentum: share of the old centre that stays.

    Returns:
      The new centre, float32 [K].
    """
    mean = jnp.mean(teacher.astype(jnp.float32), axis=tuple(range(teacher.ndim - 1)))
    return center.astype(jnp.float32) * momentum + mean * (1.0 - momentum)


def _per_identity(values: jax.Array, n: int) -> jax.Array:
    """Sums the rows of each identity: [..., batch, K] -> [..., batch / n, K]."""
    *lead, batch, width = values.shape
    return jnp.sum(values.reshape(*lead, batch // n, n, width), axis=-2)


def _check(student, teacher, center, images_per_identity, pairs) -> None:
    if student.ndim != 3 or teacher.ndim != 3 or center.ndim != 1:
        raise ValueError(
            "expected student [views, batch, K], teacher [2, batch, K], center [K]; "
            f"got {student.shape}, {teacher.shape}, {center.shape}"
        )
    if teacher.shape != (TEACHER_VIEWS, *student.shape[1:]) or center.shape != student.shape[2:]:
        raise ValueError(
            f"student {student.shape}, teacher {teacher.shape} and center {center.shape} do not fit together"
        )
    if student.shape[0] < TEACHER_VIEWS:
        raise ValueError(f"the student needs at least the two global views, got {student.shape[0]}")
    if images_per_identity < 1 or student.shape[1] % images_per_identity:
        raise ValueError(
            f"a batch of {student.shape[1]} images cannot hold whole identities of {images_per_identity} images"
        )
    if pairs not in ("official", "eq9"):
        raise ValueError(f'pairs must be "official" or "eq9", got {pairs!r}')
