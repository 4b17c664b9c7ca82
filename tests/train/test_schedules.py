"""Schedules against the oracle: tables of the authors' code, 100 epochs of 100 steps."""

import json
from pathlib import Path

import jax.numpy as jnp
import numpy as np
import pytest

from cion_jax.train.schedules import Schedules

GOLDEN = json.loads((Path(__file__).parent.parent / "parity" / "golden" / "schedules.json").read_text())
SETTINGS = GOLDEN["settings"]
LENGTH = SETTINGS["iters_per_epoch"]
TABLE = Schedules(
    total=SETTINGS["epochs"] * LENGTH,
    warmup=SETTINGS["warmup_epochs"] * LENGTH,
    lr_peak=SETTINGS["lr_peak"],
    lr_end=SETTINGS["min_lr"],
    weight_decay=tuple(SETTINGS["wd"]),
    momentum=tuple(SETTINGS["momentum"]),
)
ROWS = {int(e) * LENGTH: row for e, row in GOLDEN["values"].items()} | {
    int(i): row for i, row in GOLDEN["extra_iterations"].items()
}


@pytest.mark.parametrize("position", sorted(ROWS))
def test_equal_to_the_oracle(position):
    values, golden = TABLE.at(jnp.int32(position)), ROWS[position]
    # float32 carries 6e-8; the schedules pass through a few operations.
    np.testing.assert_allclose(values["lr"], golden["lr"], rtol=2e-6, atol=1e-12)
    np.testing.assert_allclose(values["weight_decay"], golden["weight_decay"], rtol=1e-6)
    np.testing.assert_allclose(values["momentum"], golden["teacher_momentum"], rtol=2e-7)


def test_beyond_the_end_the_last_value_stays():
    last, beyond = TABLE.at(jnp.int32(9999)), TABLE.at(jnp.int32(123456))
    assert all(last[name] == beyond[name] for name in last)


def test_peak_rate_is_the_linear_rule():
    assert SETTINGS["lr_peak"] == pytest.approx(SETTINGS["base_lr"] * SETTINGS["batch_total"] / 256)
