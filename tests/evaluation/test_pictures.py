"""The pictures are written whole, and show what `rank` counts."""

import numpy as np
import pytest
from PIL import Image

from cion_jax.evaluation import pictures
from cion_jax.evaluation.pictures import learning_curves, retrieval_sheet

# One query; its own camera's copy (0) and junk (1) are nearest and must not be shown; 3 and 5 are right.
DISTANCES = np.array([[0.0, 0.1, 0.2, 0.3, 0.4, 0.5]])
LABELS = [7], [7, -1, 3, 7, 0, 7], [1], [1, 2, 1, 2, 1, 3]


def grey(index):
    return np.full((40 + index, 20, 3), 20 * index, np.uint8)


def frames(path, count):
    """Colour of the left edge of each tile of the first row, as a hexadecimal string."""
    layout = pictures._Layout()
    picture = Image.open(path)
    xs = [layout.margin] + [
        layout.margin + layout.tile + layout.gutter + layout.gap + n * (layout.tile + layout.gap)
        for n in range(count)
    ]
    return ["#{:02x}{:02x}{:02x}".format(*picture.getpixel((x + 2, layout.header + 100))) for x in xs]


def test_the_sheet_leaves_out_what_rank_leaves_out(tmp_path):
    asked = []

    def gallery(index):
        asked.append(index)
        return grey(index)

    path = tmp_path / "new" / "sheet.png"
    retrieval_sheet([grey(3)], gallery, DISTANCES, *LABELS, path, title="t")
    assert asked == [2, 3, 4, 5]
    right, wrong = pictures.RIGHT, pictures.WRONG
    assert frames(path, 5) == [pictures.ASKED, wrong, right, wrong, right, pictures.PAPER]


def test_ties_go_by_gallery_index_and_lists_are_cut(tmp_path):
    asked = []
    retrieval_sheet(
        lambda i: grey(0),
        lambda i: (asked.append(i), grey(i))[1],
        np.zeros((1, 6)),
        *LABELS,
        tmp_path / "a.png",
        title="t",
        top=2,
    )
    assert asked == [2, 3]


def test_by_default_eight_queries_with_an_answer_are_shown(tmp_path):
    rng = np.random.default_rng(0)
    asked = []
    query_ids = np.arange(100) % 20  # identities 10..19 are not in the gallery
    retrieval_sheet(
        lambda i: (asked.append(i), grey(1))[1],
        lambda i: grey(2),
        rng.random((100, 40)),
        query_ids,
        np.arange(40) % 10,
        np.zeros(100, int),
        np.ones(40, int),
        tmp_path / "a.png",
        title="t",
    )
    assert len(asked) == 8
    assert all(query_ids[i] < 10 for i in asked)


def test_a_query_without_an_answer_can_be_asked_for(tmp_path):
    with pytest.raises(ValueError, match="no query to show"):
        retrieval_sheet([grey(1)], grey, DISTANCES, [9], *LABELS[1:], tmp_path / "a.png", title="t")
    retrieval_sheet([grey(1)], grey, DISTANCES, [9], *LABELS[1:], tmp_path / "a.png", title="t", queries=[0])
    assert set(frames(tmp_path / "a.png", 5)[1:]) == {pictures.WRONG}


def test_wrong_shapes_and_images_raise(tmp_path):
    with pytest.raises(ValueError, match="distances must have"):
        retrieval_sheet([grey(1)], grey, DISTANCES[:, :5], *LABELS, tmp_path / "a.png", title="t")
    with pytest.raises(ValueError, match="image 2 must be uint8"):
        retrieval_sheet(
            [grey(1)], lambda i: np.zeros((4, 4)), DISTANCES, *LABELS, tmp_path / "a.png", title="t"
        )
    assert not (tmp_path / "a.png").exists()


def rows(count, start=1):
    return [{"step": s, "loss": 9.0 / s, "seconds": 2.0 * s} for s in range(start, start + count)] + [
        {"step": start, "mAP": 0.1},
        {"step": start + count, "mAP": 0.5, "loss": None},
    ]


@pytest.mark.parametrize(
    "runs", [rows(3), rows(200), {"CION": rows(200), "DINO": rows(90)}, [{"step": 1, "loss": 2.0}]]
)
def test_learning_curves_are_drawn(runs, tmp_path):
    path = tmp_path / "new" / "curves.png"
    learning_curves(
        runs, path, references={"untrained": 0.12, "raw pixels": 0.121, "histogram": 0.6}, title="a run"
    )
    picture = np.asarray(Image.open(path).convert("RGB"))
    assert picture.shape[0] > 600
    assert len(np.unique(picture.reshape(-1, 3), axis=0)) > 10


def test_labels_do_not_overlap():
    figure = pictures.Figure()
    axes = figure.subplots()
    labels = [
        pictures._Label(h, str(i), "black", "normal") for i, h in enumerate([0.5, 0.1, 0.101, 0.102, 0.5])
    ]
    pictures._write_labels(axes, labels)
    heights = np.sort([text.xy[1] for text in axes.texts])
    top = axes.get_ylim()[1]
    assert (np.diff(heights) > 0.05 * top).all()
    assert heights[-1] <= top


def test_nothing_to_draw_raises(tmp_path):
    with pytest.raises(ValueError, match="nothing to draw"):
        learning_curves([{"step": 1, "loss": float("nan")}], tmp_path / "a.png")
