"""Two processes with four devices each compute what one process with eight computes."""

import numpy as np
import pytest

from tests.resume import launch


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """Work directories of the run by one process and of that by two."""
    base = launch.runs_folder(tmp_path_factory)
    return launch.straight(base, devices=8), launch.straight(base, devices=4, processes=2)


def figures(workdir, name):
    return [row[name] for row in launch.rows(workdir) if name in row]


def test_the_data_order_is_the_same(runs):
    assert launch.data_order(runs[1]) == launch.data_order(runs[0])
    assert len(launch.data_order(runs[0])) == 12


def test_rows_come_for_the_same_steps(runs):
    assert figures(runs[1], "step") == figures(runs[0], "step")


def test_loss_and_gradient_norm_of_the_first_step_agree(runs):
    for name in ("loss", "grad_norm", "teacher_entropy", "center_norm"):
        np.testing.assert_allclose(figures(runs[1], name)[0], figures(runs[0], name)[0], rtol=1e-5)


def test_gradients_of_the_first_step_agree(runs):
    # Without clipping Adam's first moments after one step are a tenth of the gradients.
    one, two = (
        {key: value for key, value in launch.state(workdir, 1).items() if _is_moment(key)} for workdir in runs
    )
    assert one.keys() == two.keys()
    assert len(one) > 20
    total = np.sqrt(sum(np.sum(np.square(g)) for g in one.values()))
    for key, gradient in one.items():
        # Some gradients are zero but for rounding (biases before a norm): those are held against the others.
        scale = max(np.linalg.norm(gradient), 1e-3 * total)
        assert np.linalg.norm(two[key] - gradient) <= 1e-5 * scale, key


def test_features_agree(runs):
    one, two = (np.load(f"{workdir}.npz") for workdir in runs)
    for name in ("query", "gallery"):
        scale = np.abs(one[name]).max()
        np.testing.assert_allclose(two[name], one[name], rtol=1e-5, atol=1e-5 * scale)


def test_losses_agree_after_ten_steps(runs):
    np.testing.assert_allclose(figures(runs[1], "loss")[:10], figures(runs[0], "loss")[:10], rtol=1e-4)


def _is_moment(key: str) -> bool:
    return key.startswith("optimizer/") and "/mu/" in key
