"""When two distances count as equal, and when float32 may not decide."""

TIE = 1e-6  # distances this close are equal; which one wins then is a rule of each level
MARGIN = 1e-5  # what float32 may be wrong by: decisions closer than this are retaken in float64
