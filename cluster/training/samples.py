"""Samples of a training: crops of images, each a pure function of the seed and its number."""

from __future__ import annotations

import contextlib
import functools
import itertools
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import NamedTuple, TypeVar, cast

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch
from numpy.typing import NDArray
from torch import Tensor

from cluster.storage import Reader, Store, decode_gray, read_gray
from cluster.training.record import TrainingJob, TrainingRecord
from fusion_core.errors import (
    ImageDecodeError,
    NotFoundError,
    PairMismatchError,
    StorageError,
)
from fusion_core.methods import check_registered
from fusion_core.training import crop_image, resize_image

IMAGES_KEY = "images.parquet"

_COLUMNS = {1: ("image",), 2: ("pair_id", "ir_uri", "vis_uri")}
"""Columns of the list of images, or of pairs."""
_READERS = 8
_BATCHES_AHEAD = 4
_SUBSTITUTES = 20
"""Number of images that are tried to replace one that cannot be read."""
_UNUSABLE = (NotFoundError, ImageDecodeError, PairMismatchError)
"""Errors of images that others replace."""

T = TypeVar("T")


@dataclass(frozen=True)
class SamplePlan:
    """The image and the crop of each sample, as a pure function of the seed."""

    images: int
    seed: int

    def image(self, sample: int) -> int:
        """Return the number of a sample's image; each epoch is a permutation of all images."""
        epoch, place = divmod(sample, self.images)
        return int(_order(self.images, self.seed, epoch)[place])

    def generator(self, sample: int) -> np.random.Generator:
        """Return the random generator for the position of a sample's crop."""
        return np.random.default_rng([self.seed, 1, sample])


@functools.lru_cache(maxsize=4)
def _order(images: int, seed: int, epoch: int) -> NDArray[np.int64]:
    return np.random.default_rng([seed, 0, epoch]).permutation(images)


@dataclass(frozen=True, slots=True)
class SampleImages:
    """The images that samples are taken from: one, or those of a pair."""

    name: str
    """Key of the image in its folder, or the pair_id."""
    locations: tuple[str, ...]
    """The key again, or the locations of the infrared and the visible image."""


def write_images(out: Store, images: Sequence[SampleImages]) -> None:
    """Freeze the list of a training's images or pairs."""
    count = len(images[0].locations)
    names = pa.array([each.name for each in images], pa.string())
    places = [pa.array([each.locations[n] for each in images], pa.string()) for n in range(count)]
    columns = [names] if count == 1 else [names, *places]
    buffer = pa.BufferOutputStream()
    table = pa.table(dict(zip(_COLUMNS[count], columns, strict=True)))
    pq.write_table(table, buffer, write_page_checksum=True)
    out.write(IMAGES_KEY, buffer.getvalue().to_pybytes())


def read_images(out: Store, sources: int = 1) -> list[SampleImages]:
    """Return the list of a training's images, or of its pairs if there are two sources.

    Raises:
        StorageError: The list is missing or damaged.
    """
    try:
        data = pa.BufferReader(out.read(IMAGES_KEY))
        columns = list(_COLUMNS[sources])
        table = pq.read_table(data, columns=columns, page_checksum_verification=True)
    except (pa.ArrowException, OSError, UnicodeDecodeError) as error:
        raise StorageError(
            f"{out.uri(IMAGES_KEY)} is damaged ({str(error).splitlines()[0]}); delete it and "
            "run the same command again, which restores it"
        ) from None
    names, *places = (cast(list[str], table.column(name).to_pylist()) for name in columns)
    return [
        SampleImages(name, locations)
        for name, locations in zip(names, zip(*(places or [names]), strict=True), strict=True)
    ]


def split_images(images: list[T], validation: int, seed: int) -> tuple[list[T], list[T]]:
    """Split images or pairs into those that are trained on and those that are held out.

    >>> split_images(["a", "b", "c"], 1, seed=0)
    (['a', 'b'], ['c'])
    """
    order = np.random.default_rng([seed, 2]).permutation(len(images))
    held_out = set(order[:validation].tolist())
    split: tuple[list[T], list[T]] = ([], [])
    for number, image in enumerate(images):
        split[number in held_out].append(image)
    return split


def read_validation(job: TrainingJob) -> Tensor:
    """Return the centers of the images or pairs that are held out, as far as they can be read.

    Returns:
        `(N, C, S, S)` uint8; C is the number of sources.

    Raises:
        StorageError: The store cannot be read.
    """
    record, sources = job.record, job.record.parameters.sources
    images = read_images(job.out, sources)
    _, held_out = split_images(images, record.validation, record.parameters.seed)
    read, found = _ImageReader(job), []
    for each in held_out:
        with contextlib.suppress(*_UNUSABLE):
            found.append(_to_sample(record, read(each)))
    side = record.parameters.crop
    samples = np.stack(found) if found else np.empty((0, sources, side, side), np.uint8)
    return torch.from_numpy(samples)


def _to_sample(
    record: TrainingRecord,
    images: NDArray[np.uint8],
    generator: np.random.Generator | None = None,
) -> NDArray[np.uint8]:
    side = record.parameters.crop
    if record.fit == "resize":
        return np.stack([resize_image(image, side) for image in images])
    return crop_image(images, side, generator)


class _ImageReader:
    """Reads images or pairs as gray; thread-safe."""

    def __init__(self, job: TrainingJob) -> None:
        self._store, self._max_pixels = job.images, job.record.max_pixels
        self._reader = Reader(job.out.storage_options, max_pixels=self._max_pixels)

    def __call__(self, images: SampleImages) -> NDArray[np.uint8]:
        """Return the images as `(C, H, W)`.

        Raises:
            StorageError: The store cannot be read, or an image is missing.
            ImageDecodeError: An image cannot be decoded.
            PairMismatchError: The images of a pair have different sizes.
        """
        found = [self._read(location) for location in images.locations]
        check_registered(found[0], found[-1])
        return np.stack(found)

    def _read(self, location: str) -> NDArray[np.uint8]:
        if self._store is not None:
            return read_gray(self._store, location, self._max_pixels)
        return decode_gray(self._reader.read(location), location, self._max_pixels)


class _Samples:
    """Reads samples; thread-safe."""

    def __init__(self, job: TrainingJob) -> None:
        record = job.record
        self._record, self._read = record, _ImageReader(job)
        images, seed = read_images(job.out, record.parameters.sources), record.parameters.seed
        self._images, _ = split_images(images, record.validation, seed)
        self._plan = SamplePlan(len(self._images), seed)

    def read(self, sample: int) -> tuple[NDArray[np.uint8], str]:
        """Return the crop of a sample `(C, S, S)`, and the image that could not be read, or "".

        Raises:
            StorageError: The store cannot be read, or many images in a row are missing.
            ImageDecodeError: Many images in a row cannot be decoded.
            PairMismatchError: Many pairs in a row have images of different sizes.
        """
        first = self._plan.image(sample)
        unreadable = ""
        for attempt in range(min(_SUBSTITUTES, len(self._images))):
            each = self._images[(first + attempt) % len(self._images)]
            try:
                images = self._read(each)
            except _UNUSABLE as error:
                unreadable, last = unreadable or each.name, error
                continue
            generator = None if self._record.single_image else self._plan.generator(sample)
            return _to_sample(self._record, images, generator), unreadable
        raise last


@dataclass(frozen=True, slots=True)
class Share:
    """The samples of one of several workers, starting at a step."""

    first_step: int
    batch: int
    rank: int
    world: int

    @property
    def size(self) -> int:
        """Number of samples per step."""
        return self.batch // self.world

    def sample(self, number: int) -> int:
        """Return the number of the worker's n-th sample in the training."""
        steps, place = divmod(number, self.size)
        return (self.first_step + steps) * self.batch + self.rank * self.size + place

    def samples(self, step: int) -> list[int]:
        """Return the numbers of the worker's samples in the n-th step from the first."""
        return [self.sample(number) for number in range(step * self.size, (step + 1) * self.size)]


class Batch(NamedTuple):
    """A worker's part of a batch."""

    images: Tensor
    """`(B, C, S, S)` uint8; C is the number of sources."""
    samples: list[int]
    """Numbers of the samples in the training."""
    unreadable: list[str]
    """Images that could not be read and were replaced by others."""


def read_batches(job: TrainingJob, share: Share) -> Iterator[Batch]:
    """Yield the batches of a worker.

    Threads read a bounded number of samples ahead. Ray Data is not used, because its tasks need
    resources in addition to the workers: with two workers on two CPUs it would wait forever.
    """
    steps = job.record.steps - share.first_step
    samples = _Samples(job)
    if job.record.single_image:
        crop, _ = samples.read(0)
        images = torch.from_numpy(crop)[None].expand(share.size, -1, -1, -1)
        yield from (Batch(images, share.samples(step), []) for step in range(steps))
        return
    ahead = share.size * _BATCHES_AHEAD + _READERS
    with ThreadPoolExecutor(_READERS, thread_name_prefix="read") as pool:
        numbers = iter(range(steps * share.size))

        def read(number: int) -> Future[tuple[NDArray[np.uint8], str]]:
            return pool.submit(samples.read, share.sample(number))

        pending = deque(read(number) for number in itertools.islice(numbers, ahead))
        try:
            for step in range(steps):
                found = [pending.popleft().result() for _ in range(share.size)]
                pending.extend(read(number) for number in itertools.islice(numbers, share.size))
                crops = torch.from_numpy(np.stack([crop for crop, _ in found]))
                names = [name for _, name in found if name]
                yield Batch(crops, share.samples(step), names)
        finally:
            pool.shutdown(wait=False, cancel_futures=True)
