"""Keys of a result's provenance that are read back from `case.json`; on the page they stand as they are."""

MODEL = "model"
WEIGHTS = "weights (sha256)"
MIRRORED = "averaged over mirror images"
EVENED = "corrected for uneven brightness (N4)"
