"""The images or pairs of a training: their list, and a digest that tells it from others."""

from __future__ import annotations

import hashlib

from cluster.storage import Store, split_query
from cluster.training import SampleImages
from fusion_core.errors import InvalidValueError
from jobs.image_folders import list_images
from jobs.options import SourceOptions, TrainOptions
from jobs.progress import Progress
from jobs.sources import open_source


def source_of(options: TrainOptions, sources: int) -> str:
    """Return where the images are.

    Args:
        options: Options of the job.
        sources: Images of a sample: 1, or the 2 of a pair.

    Raises:
        InvalidValueError: It is not given exactly once, or not in the way that the method needs.
    """
    given = [place for place in (options.images, options.single_image, options.pairs) if place]
    if sources == 2:
        if options.pairs is None or len(given) != 1:
            raise InvalidValueError(
                f"{options.method} learns from pairs: expected --pairs, a folder or a manifest as "
                "`irfuse run` takes, without --images and --single-image"
            )
    elif options.pairs is not None or len(given) != 1:
        raise InvalidValueError(
            f"{options.method} learns from images: expected either --images or --single-image, "
            "without --pairs"
        )
    return given[0]


def find_training_images(
    options: TrainOptions, progress: Progress
) -> tuple[list[SampleImages], str]:
    """Return the images or pairs in a fixed order, and a digest of them.

    Raises:
        InvalidValueError: The location of the single image has a query.
        ManifestError: There are no pairs.
        NotFoundError: There are no images.
        StorageError: The location cannot be read.
    """
    if options.pairs is not None:
        return _find_pairs(options, options.pairs)
    if options.single_image is not None:
        store, name = _locate_single(options, options.single_image)
        return [SampleImages(name, (name,))], hashlib.sha256(store.read(name)).hexdigest()
    entries = list_images(options.store(options.images or ""), progress)
    digest = hashlib.sha256()
    for entry in entries:
        digest.update(f"{entry.key}\0{entry.size}\n".encode())
    return [SampleImages(entry.key, (entry.key,)) for entry in entries], digest.hexdigest()


def training_store(options: TrainOptions) -> Store | None:
    """Return the folder of the images; None for pairs, whose locations are complete."""
    if options.pairs is not None:
        return None
    if options.single_image is not None:
        return _locate_single(options, options.single_image)[0]
    return options.store(options.images or "")


def _find_pairs(options: TrainOptions, place: str) -> tuple[list[SampleImages], str]:
    source = open_source(SourceOptions(source=place, storage_options=options.storage_options))
    pairs = [
        SampleImages(row["pair_id"], (row["ir_uri"], row["vis_uri"]))
        for batch in source.read()
        for row in batch.select(["pair_id", "ir_uri", "vis_uri"]).to_pylist()
    ]
    digest = hashlib.sha256()
    for pair in pairs:
        digest.update("\0".join((pair.name, *pair.locations, "\n")).encode())
    return pairs, digest.hexdigest()


def _locate_single(options: TrainOptions, image: str) -> tuple[Store, str]:
    if split_query(image)[1]:
        raise InvalidValueError("--single-image is a URL with a query; download the image first")
    return options.file(image)
