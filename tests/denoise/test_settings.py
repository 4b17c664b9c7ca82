"""Settings of the levels refuse what cannot be used, and what would do nothing."""

import dataclasses

import pytest

from cion_jax import denoise


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"merging": "ward"}, "merging='ward'"),
        ({"sigma_cst": 0.0}, "sigma_cst=0"),
        ({"min_images": 0}, "min_images"),
        ({"half_width": -1}, "half_width=-1 must be None or not negative"),
        ({"merging": "agglomerative", "mutual": 3}, "mutual would do nothing: .* merging='closure'"),
        (
            {"merging": "agglomerative", "max_share": 0.5, "max_radius": 0.3},
            "max_share and max_radius would do nothing: .* not 'agglomerative'",
        ),
    ],
)
def test_wrong_settings_are_refused(changes, message):
    with pytest.raises(ValueError, match=message):
        denoise.paper(**changes)


def test_options_of_the_closure_go_with_it():
    with pytest.raises(ValueError, match="mutual would do nothing"):
        denoise.recommended(mutual=2)
    guarded = denoise.recommended(merging="closure", mutual=2, max_radius=0.3)
    with pytest.raises(ValueError, match="mutual and max_radius"):
        dataclasses.replace(guarded, merging="agglomerative")
    assert denoise.recommended(mutual=0, max_share=1.0, max_radius=2.0) == denoise.recommended()
