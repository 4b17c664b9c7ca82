import numpy as np
import pytest

from cion_jax.data import synthetic_drawing as drawing

WHITE = (1.0, 1.0, 1.0)
SHAPES = {
    "tube": lambda canvas, x, y: drawing.tube(canvas, (x, y - 5), (x, y + 5), (4, 4), WHITE, seam=0.0),
    "trunk": lambda canvas, x, y: drawing.trunk(
        canvas, lambda row: x + 0 * row, (np.array([y - 6, y + 6]), np.array([4.0, 5.0])), WHITE, seam=0.0
    ),
    "ball": lambda canvas, x, y: drawing.ball(canvas, (x, y), (5, 6), WHITE, seam=0.0),
    "box": lambda canvas, x, y: drawing.box(canvas, (x, y), (5, 6), 2, WHITE, seam=0.0),
    "shadow": lambda canvas, x, y: drawing.shadow(canvas, (x, y), (6, 4), 0.5),
}


@pytest.fixture
def canvas():
    return drawing.Canvas(np.full((40, 30, 3), 0.25, np.float32))


@pytest.mark.parametrize("name", SHAPES)
def test_a_shape_changes_its_place_alone(canvas, name):
    SHAPES[name](canvas, 15, 20)
    changed = np.abs(canvas.image - 0.25).max(axis=-1) > 1e-3
    assert changed[20, 15], "the middle is not drawn"
    rows, columns = np.nonzero(changed)
    assert rows.min() >= 8 and rows.max() <= 32 and columns.min() >= 7 and columns.max() <= 23
    assert canvas.image.dtype == np.float32


@pytest.mark.parametrize("name", SHAPES)
@pytest.mark.parametrize(("x", "y"), [(-100, 20), (15, 500), (0, 0), (30, 40)])
def test_shapes_may_leave_the_picture(canvas, name, x, y):
    SHAPES[name](canvas, x, y)
    assert np.isfinite(canvas.image).all()


def test_edges_are_smooth(canvas):
    drawing.ball(canvas, (15.3, 20.4), (8, 8), WHITE, seam=0.0)
    edge = (canvas.image[..., 0] > 0.3) & (canvas.image[..., 0] < 0.45)
    assert edge.any(), "the outline has no half-covered pixels"


def test_paint_gets_its_coordinates(canvas):
    seen = {}

    def paint(along, across):
        seen["along"], seen["across"] = along, across
        return np.stack([along, across, along], axis=-1)

    drawing.tube(canvas, (15, 5), (15, 35), (6, 6), paint)
    assert seen["along"].shape == seen["across"].shape
    assert seen["along"].min() == 0 and seen["along"].max() == 1
    assert seen["across"][20, 0] < 0 < seen["across"][20, -1], "across must run from left to right going down"
