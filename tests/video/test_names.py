"""Names of LUPerson-NL's images."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cion_jax.video import names
from cion_jax.video.names import CropFile, CropName


@settings(deadline=None, max_examples=50)
@given(
    st.none() | st.integers(0, 200_000),
    st.integers(0, 2_000_000),
    st.integers(0, 20_000_000),
    st.integers(0, 200),
)
def test_a_name_gives_back_its_parts(video, person, frame, detection):
    stem = f"{person:06}_{frame:07}_{detection:02}"
    stem = stem if video is None else f"{video:05}_{stem}"
    assert names.parse(stem) == CropName(video, person, frame, detection)


@pytest.mark.parametrize("stem", ["01_02_0003_00000004", "0002_c1s1_000451_03", "000001", "1_2_3", ""])
def test_other_names_are_none(stem):
    assert names.parse(stem) is None


def test_crops_are_sorted_by_video_person_and_frame():
    paths = [
        "us/ny/b/000002_0000001_00.jpg",
        "us/ny/b/000001_0000010_00.jpg",
        "us/ny/b/000001_0000009_01.jpg",
        "us/ny/a/000005_0000001_00.jpg",
        "00007_000001_0000002_00.png",
        "us/ny/b/01_02_0003_00000004.jpg",
        "us/ny/b/cover.jpg",
        "us/ny/\udcff/000001_0000001_00.jpg",
    ]
    crops, skipped = names.read(paths)
    assert crops == [
        CropFile("00007_000001_0000002_00.png", "00007", 1, 2),
        CropFile("us/ny/a/000005_0000001_00.jpg", "us/ny/a", 5, 1),
        CropFile("us/ny/b/000001_0000009_01.jpg", "us/ny/b", 1, 9),
        CropFile("us/ny/b/000001_0000010_00.jpg", "us/ny/b", 1, 10),
        CropFile("us/ny/b/000002_0000001_00.jpg", "us/ny/b", 2, 1),
    ]
    assert [video for video, _ in names.by_video(crops)] == ["00007", "us/ny/a", "us/ny/b"]
    assert [path.rsplit("/", 1)[1] for path, _ in skipped] == [
        "01_02_0003_00000004.jpg",
        "cover.jpg",
        "000001_0000001_00.jpg",
    ]
    assert "says no person" in skipped[0][1] and "PERSON_FRAME_DETECTION" in skipped[1][1]
    assert "no UTF-8" in skipped[2][1]
