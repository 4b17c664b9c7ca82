"""The closed-form loss against the oracle (the authors' PyTorch code) and against the literal double sum."""

import json
import time
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cion_jax.losses import distill

GOLDEN = Path(__file__).parent.parent / "parity" / "golden"
CASES = json.loads((GOLDEN / "loss.json").read_text())["cases"]
ARRAYS = np.load(GOLDEN / "loss.npz")
# float32 against the authors' float32: losses near 8 carry 5e-7 of rounding, gradients near 0.1 carry 1e-8.
LOSS_TOLERANCE, GRADIENT_TOLERANCE = 2e-6, 1e-6


def case_inputs(case):
    """Student [views, batch, K], teacher [2, batch, K], center [K], as the oracle's input recipe draws them."""
    rng = np.random.Generator(np.random.PCG64(case["seed"]))
    views, batch, width = case["ncrops"], case["batch_images"], case["out_dim"]
    student = rng.standard_normal((views * batch, width), np.float32) * np.float32(0.3)
    teacher = rng.standard_normal((2 * batch, width), np.float32) * np.float32(0.1)
    center = np.zeros(width, np.float32)
    if case["center"] == "random":
        center = (rng.standard_normal((1, width), np.float32) * np.float32(0.05))[0]
    return student.reshape(views, batch, width), teacher.reshape(2, batch, width), center


@pytest.mark.parametrize("case", CASES, ids=lambda c: c["id"])
def test_loss_gradient_and_center_equal_the_oracle(case):
    student, teacher, center = case_inputs(case)
    loss, gradient = jax.value_and_grad(distill.identity_loss)(
        student, teacher, center, images_per_identity=case["n_instances"]
    )
    np.testing.assert_allclose(loss, case["loss"], rtol=LOSS_TOLERANCE, err_msg="the loss left the oracle")
    np.testing.assert_allclose(np.linalg.norm(gradient), case["grad_norm"], rtol=1e-5)
    if f"{case['id']}/grad_student" in ARRAYS:
        golden = ARRAYS[f"{case['id']}/grad_student"].reshape(gradient.shape)
        np.testing.assert_allclose(gradient, golden, atol=GRADIENT_TOLERANCE)
    moved = distill.update_center(jnp.asarray(center), jnp.asarray(teacher))
    np.testing.assert_allclose(moved, ARRAYS[f"{case['id']}/new_center"].reshape(-1), atol=1e-7)
    again = distill.identity_loss(student, teacher, moved, images_per_identity=case["n_instances"])
    np.testing.assert_allclose(again, case["second_call_same_inputs_loss"], rtol=LOSS_TOLERANCE)


@pytest.mark.parametrize("case", CASES, ids=lambda c: c["id"])
def test_eq9_is_the_mean_over_its_terms(case):
    loss = distill.identity_loss(*case_inputs(case), images_per_identity=case["n_instances"], pairs="eq9")
    np.testing.assert_allclose(loss, case["paper_eq9"]["mean_over_terms"], rtol=LOSS_TOLERANCE)


def literal_loss(student, teacher, center, n, pairs):
    """Every pair of images and views written out, in float64."""
    scaled = student.astype(np.float64) / 0.1
    log_p = scaled - np.log(np.sum(np.exp(scaled), -1, keepdims=True))
    q = np.exp((teacher.astype(np.float64) - center) / 0.04)
    q /= q.sum(-1, keepdims=True)
    views, batch, _ = student.shape
    total, pairs_of_views, terms = 0.0, 0, 0
    for a in range(2):
        for b in range(views):
            if pairs == "official" and a == b:
                continue
            pairs_of_views += 1
            for start in range(0, batch, n):
                for i in range(start, start + n):
                    for j in range(start, start + n):
                        if pairs == "eq9" and (a, i) == (b, j):
                            continue
                        entropy = -np.sum(q[a, i] * log_p[b, j])
                        weight = (
                            1.0
                            if pairs == "eq9"
                            else (1 / batch if i == j else n / batch) / (n * (n - 1) + 1)
                        )
                        total, terms = total + weight * entropy, terms + 1
    return total / (terms if pairs == "eq9" else pairs_of_views)


@settings(deadline=None, max_examples=15)
@given(
    views=st.integers(2, 4),
    identities=st.integers(1, 3),
    n=st.integers(1, 4),
    pairs=st.sampled_from(["official", "eq9"]),
    seed=st.integers(0, 2**16),
)
def test_closed_form_equals_the_literal_double_sum(views, identities, n, pairs, seed):
    rng = np.random.default_rng(seed)
    student = rng.normal(size=(views, identities * n, 7)).astype(np.float32)
    teacher = 0.1 * rng.normal(size=(2, identities * n, 7)).astype(np.float32)
    center = 0.1 * rng.normal(size=7).astype(np.float32)
    loss = distill.identity_loss(student, teacher, center, images_per_identity=n, pairs=pairs)
    np.testing.assert_allclose(loss, literal_loss(student, teacher, center, n, pairs), rtol=1e-5)


def test_teacher_and_center_take_no_gradient():
    student, teacher, center = case_inputs(CASES[0])
    to_teacher, to_center = jax.grad(distill.identity_loss, argnums=(1, 2))(
        student, teacher, center, images_per_identity=2
    )
    assert not np.any(to_teacher)
    assert not np.any(to_center)


def test_bfloat16_outputs_are_lifted_to_float32():
    student, teacher, center = case_inputs(CASES[0])
    loss = distill.identity_loss(jnp.bfloat16(student), jnp.bfloat16(teacher), center, images_per_identity=2)
    assert loss.dtype == jnp.float32
    np.testing.assert_allclose(loss, CASES[0]["loss"], rtol=5e-3)


def test_sharding_the_batch_does_not_change_the_loss():
    student, teacher, center = case_inputs(CASES[0])
    mesh = jax.make_mesh((4,), ("data",), devices=jax.devices()[:4], axis_types=(jax.sharding.AxisType.Auto,))
    rows = jax.sharding.NamedSharding(mesh, jax.sharding.PartitionSpec(None, "data"))
    loss = jax.jit(distill.identity_loss, static_argnames="images_per_identity")(
        jax.device_put(student, rows), jax.device_put(teacher, rows), center, images_per_identity=2
    )
    np.testing.assert_allclose(loss, CASES[0]["loss"], rtol=LOSS_TOLERANCE)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"images_per_identity": 5}, "whole identities"),
        ({"pairs": "all"}, "pairs must be"),
        ({"center": np.zeros(3)}, "do not fit together"),
        ({"teacher": np.zeros((3, 24, 64))}, "do not fit together"),
        ({"student": np.zeros((24, 64))}, "expected student"),
    ],
)
def test_bad_arguments_are_named(change, message):
    student, teacher, center = case_inputs(CASES[0])
    arguments = {"student": student, "teacher": teacher, "center": center, "images_per_identity": 2} | change
    with pytest.raises(ValueError, match=message):
        distill.identity_loss(**arguments)


@pytest.mark.slow
def test_full_size_compiles_in_a_second():
    """N_id 8, K 65,536, batch 120, 10 views: the size of the paper."""
    shapes = [jax.ShapeDtypeStruct(s, jnp.float32) for s in ((10, 120, 65536), (2, 120, 65536), (65536,))]
    step = jax.jit(jax.value_and_grad(lambda s, t, c: distill.identity_loss(s, t, c, images_per_identity=8)))
    start = time.perf_counter()
    step.lower(*shapes).compile()
    seconds = time.perf_counter() - start
    assert seconds < 3, f"{seconds:.1f} s: is something unrolled over views or images?"
