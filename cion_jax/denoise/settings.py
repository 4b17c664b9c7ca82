"""What to do at each level: the paper's way, and options beyond it."""

from dataclasses import dataclass, replace

MERGING = ("closure", "agglomerative")
# Options of the closure alone, with the values at which they do nothing.
OF_CLOSURE = {"mutual": 0, "max_share": 1.0, "max_radius": 2.0}


@dataclass(frozen=True)
class Settings:
    """Settings of `run`. The defaults are the paper; each option states what it changes.

    Values that cannot be used, or that would do nothing beside the others, raise ValueError.

    Attributes:
      sigma_cst, sigma_drm: thresholds in cosine distance.
      half_width: of the sliding range of level 3, in identities of level 2; None: all pairs.
      merging: "closure": everything that hangs together by links within sigma_drm; "agglomerative": closest pair first.
      cannot_link: groups seen in one frame are not linked or merged directly. Needs frames.
      split: tracklets are first cut in time where their two sides are further apart than sigma_drm.
      rebirth: rejected images of a video that are alike become a tracklet, if so many or more; 0: never.
      mutual: links of the closure count only between mutual nearest so many; 0: all count.
      max_share, max_radius: components of the closure larger or wider than this are merged again, closest pair first.
      second_look: level 1 once more, on finished identities.
      give_back: rejected images go to the nearest finished identity within sigma_drm.
      min_images: smaller identities are left out at the very end.
    """

    sigma_cst: float = 0.2
    sigma_drm: float = 0.18
    half_width: int | None = 1000
    merging: str = "closure"
    cannot_link: bool = False
    split: bool = False
    rebirth: int = 0
    mutual: int = 0
    max_share: float = 1.0
    max_radius: float = 2.0
    second_look: bool = False
    give_back: bool = False
    min_images: int = 1

    def __post_init__(self):
        if self.merging not in MERGING:
            raise ValueError(f"merging={self.merging!r} is none of {', '.join(MERGING)}")
        if not (0 < self.sigma_cst <= 2 and 0 < self.sigma_drm <= 2):
            raise ValueError(f"sigma_cst={self.sigma_cst} and sigma_drm={self.sigma_drm} must lie in (0, 2]")
        if self.min_images < 1 or self.rebirth < 0 or self.mutual < 0:
            raise ValueError("min_images must be at least 1, rebirth and mutual at least 0")
        if self.half_width is not None and self.half_width < 0:
            raise ValueError(f"half_width={self.half_width} must be None or not negative")
        idle = [name for name, off in OF_CLOSURE.items() if getattr(self, name) != off]
        if idle and self.merging != "closure":
            raise ValueError(
                f"{' and '.join(idle)} would do nothing: they are for merging='closure', not {self.merging!r}"
            )

    @property
    def needs_frames(self) -> bool:
        """Whether frame numbers are used."""
        return self.cannot_link


def paper(**changes) -> Settings:
    """The three levels as the paper has them."""
    return replace(Settings(), **changes)


def recommended(**changes) -> Settings:
    """What measured best where truth is known (docs/denoising.md), for thresholds from `calibrate`."""
    settings = Settings(
        half_width=None, merging="agglomerative", cannot_link=True, split=True, rebirth=3, give_back=True
    )
    return replace(settings, **changes)
