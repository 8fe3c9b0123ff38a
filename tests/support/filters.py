"""The borders of filters, under NumPy's names."""

from fusion_core.filters.borders import Border

NUMPY_BORDERS: dict[Border, str] = {
    "zero": "constant", "replicate": "edge", "symmetric": "symmetric", "mirror": "reflect",
    "circular": "wrap",
}  # fmt: skip
