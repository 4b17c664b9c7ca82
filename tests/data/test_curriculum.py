"""Phases, epochs and rows of a run."""

import pickle
import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from cion_jax.core.errors import UserError
from cion_jax.data.curriculum import Curriculum
from cion_jax.data.sampler import IdentitySampler

COLUMN = np.repeat(np.arange(20), 9)


def curriculum(**changes):
    settings = {"batch_size": 24, "epochs": 6, "stages": ((0, 2), (3, 4)), "seed": 3} | changes
    return Curriculum(COLUMN, **settings)


def test_phases_follow_each_other_without_gap():
    c = curriculum()
    first, second = c.phases
    assert (first.images_per_identity, second.images_per_identity) == (2, 4)
    assert (first.first_step, first.last_step) == (0, 3 * first.epoch_length)
    assert second.first_step == first.last_step
    assert c.total_steps == second.last_step == 3 * first.epoch_length + 3 * second.epoch_length
    assert c.epoch(first.last_step - 1) == 2
    assert c.epoch(second.first_step) == 3
    assert c.epoch(c.total_steps - 1) == 5


@pytest.mark.parametrize("steps", [1, 7, 30, 1000])
def test_steps_override_epochs(steps):
    c = curriculum(steps=steps)
    assert c.total_steps == steps
    assert len(c.rows(steps - 1)) == 24


def test_rows_hold_whole_identities_of_the_phase():
    c = curriculum()
    for step in range(c.total_steps):
        n = c.phase(step).images_per_identity
        groups = COLUMN[c.rows(step)].reshape(-1, n)
        assert (groups == groups[:, :1]).all()
        assert len(np.unique(groups[:, 0])) == 24 // n


def test_rows_are_the_same_in_any_order_and_in_another_process():
    c = curriculum()
    copy = pickle.loads(pickle.dumps(c))
    for step in (c.total_steps - 1, 0, 5):
        np.testing.assert_array_equal(c.rows(step), copy.rows(step))


def planned_epochs(monkeypatch):
    """Images per identity and epoch of the plans that are made from here on."""
    made, plan = [], IdentitySampler.epoch

    def counted(self, seed, epoch):
        made.append((self._per_identity, epoch))
        time.sleep(0.02)
        return plan(self, seed, epoch)

    monkeypatch.setattr(IdentitySampler, "epoch", counted)
    return made


def test_many_threads_make_every_plan_once(monkeypatch):
    made, c = planned_epochs(monkeypatch), curriculum()
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(c.rows, range(c.total_steps)))
    assert sorted(made) == [(2, 0), (2, 1), (2, 2), (4, 3), (4, 4), (4, 5)]
    for step, rows in enumerate(found):
        np.testing.assert_array_equal(rows, curriculum().rows(step))


def test_the_next_epoch_is_planned_before_it_begins(monkeypatch):
    made, c = planned_epochs(monkeypatch), curriculum()
    for step, expected in (
        (0, [(2, 0), (2, 1)]),
        (c.phases[0].last_step - 1, [(2, 2), (4, 3)]),  # across a change of phase
        (c.total_steps - 1, [(4, 5)]),  # nothing follows the last epoch
    ):
        made.clear()
        c.rows(step)
        end = time.monotonic() + 5
        while made != expected and time.monotonic() < end:
            time.sleep(0.005)
        assert made == expected
        time.sleep(0.05)  # until the plan ahead is done


def test_a_curriculum_in_use_can_be_sent_to_worker_processes():
    c = curriculum()
    c.rows(0)
    data = pickle.dumps(c)
    assert len(data) < len(pickle.dumps(curriculum())) + 100, "plans travel along"
    np.testing.assert_array_equal(pickle.loads(data).rows(3), c.rows(3))


def test_the_rule_of_incomplete_groups_reaches_the_plan():
    # 9 images in groups of 2: 5 groups when the last one is filled up, 4 when it is dropped; 12 groups a batch.
    assert curriculum().phases[0].epoch_length == 9
    assert curriculum(incomplete_groups="drop").phases[0].epoch_length == 6
    with pytest.raises(UserError, match=r"data.incomplete_groups='keep'"):
        curriculum(incomplete_groups="keep")


def test_late_stages_are_left_out_of_a_short_run():
    assert [p.images_per_identity for p in curriculum(epochs=2).phases] == [2]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"stages": ((1, 2),)}, "rising epochs from 0"),
        ({"stages": ((0, 2), (0, 4))}, "rising epochs from 0"),
        ({"stages": ((0, 0),)}, "rising epochs from 0"),
        ({"batch_size": 22}, "multiple of 4"),
        ({"epochs": 0}, "at least 1"),
        ({"batch_size": 80}, "20 identities"),
    ],
)
def test_what_cannot_be_planned_is_refused(changes, message):
    with pytest.raises(UserError, match=message):
        curriculum(**changes)
