"""Every name of a video gives names of files that a file system takes."""

import os

from hypothesis import given, settings
from hypothesis import strategies as st

from cion_jax.video.file_names import file_name

parts = st.text(alphabet="aé日\udcff１. ~", min_size=1, max_size=255).filter(lambda p: p.strip(". "))
names = st.lists(parts, min_size=1, max_size=12).map("/".join)


@settings(deadline=None, max_examples=100)
@given(names)
def test_all_parts_leave_room_for_suffixes(name):
    found = file_name(name)
    assert all(len(os.fsencode(part)) <= 200 for part in found.split("/"))
    assert len(os.fsencode(found)) <= 1500
    if all(len(os.fsencode(part)) <= 200 for part in name.split("/")) and len(os.fsencode(name)) <= 1500:
        assert found == name


def test_long_names_that_begin_and_end_alike_differ():
    first, second = (f"dir/{'日' * 60}{letter}{'本' * 20}.mp4" for letter in "ab")
    assert file_name(first) != file_name(second)
    assert file_name(first).startswith("dir/" + "日" * 40 + "~") and file_name(first).endswith(".mp4")
