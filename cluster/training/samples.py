"""Samples of a training: crops of images, each a pure function of the seed and its number."""

from __future__ import annotations

import contextlib
import functools
import itertools
from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import cast

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch
from numpy.typing import NDArray
from torch import Tensor

from cluster.storage import Store, read_gray
from cluster.training.record import TrainingJob, TrainingRecord
from fusion_core.errors import ImageDecodeError, NotFoundError, StorageError
from fusion_core.training import crop_image, resize_image

IMAGES_KEY = "images.parquet"

_READERS = 8
_BATCHES_AHEAD = 4
_SUBSTITUTES = 20
"""Number of images that are tried to replace one that cannot be read."""


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


def write_images(out: Store, keys: list[str]) -> None:
    """Freeze the list of a training's images."""
    buffer = pa.BufferOutputStream()
    table = pa.table({"image": pa.array(keys, pa.string())})
    pq.write_table(table, buffer, write_page_checksum=True)
    out.write(IMAGES_KEY, buffer.getvalue().to_pybytes())


def read_images(out: Store) -> list[str]:
    """Return the list of a training's images.

    Raises:
        StorageError: The list is missing or damaged.
    """
    try:
        data = pa.BufferReader(out.read(IMAGES_KEY))
        table = pq.read_table(data, columns=["image"], page_checksum_verification=True)
    except (pa.ArrowException, OSError, UnicodeDecodeError) as error:
        raise StorageError(
            f"{out.uri(IMAGES_KEY)} is damaged ({str(error).splitlines()[0]}); delete it and "
            "run the same command again, which restores it"
        ) from None
    return cast(list[str], table.column("image").to_pylist())


def split_images(keys: list[str], validation: int, seed: int) -> tuple[list[str], list[str]]:
    """Split images into those that are trained on and those that are held out.

    >>> split_images(["a", "b", "c"], 1, seed=0)
    (['a', 'b'], ['c'])
    """
    order = np.random.default_rng([seed, 2]).permutation(len(keys))
    held_out = set(order[:validation].tolist())
    split: tuple[list[str], list[str]] = ([], [])
    for number, key in enumerate(keys):
        split[number in held_out].append(key)
    return split


def read_validation(job: TrainingJob) -> Tensor:
    """Return the centers of the images that are held out, as far as they can be read.

    Returns:
        `(N, 1, S, S)` uint8.

    Raises:
        StorageError: The store cannot be read.
    """
    record = job.record
    _, keys = split_images(read_images(job.out), record.validation, record.parameters.seed)
    found = []
    for key in keys:
        with contextlib.suppress(NotFoundError, ImageDecodeError):
            found.append(_to_sample(record, read_gray(job.images, key, record.max_pixels)))
    side = record.parameters.crop
    samples = np.stack(found) if found else np.empty((0, side, side), np.uint8)
    return torch.from_numpy(samples).unsqueeze(1)


def _to_sample(
    record: TrainingRecord,
    image: NDArray[np.uint8],
    generator: np.random.Generator | None = None,
) -> NDArray[np.uint8]:
    side = record.parameters.crop
    if record.fit == "resize":
        return resize_image(image, side)
    return crop_image(image, side, generator)


class _Samples:
    """Reads samples; thread-safe."""

    def __init__(self, job: TrainingJob) -> None:
        record = job.record
        self._record, self._store = record, job.images
        keys, seed = read_images(job.out), record.parameters.seed
        self._keys, _ = split_images(keys, record.validation, seed)
        self._plan = SamplePlan(len(self._keys), job.record.parameters.seed)

    def read(self, sample: int) -> tuple[NDArray[np.uint8], str]:
        """Return the crop of a sample, and the image that could not be read, or "".

        Raises:
            StorageError: The store cannot be read, or many images in a row are missing.
            ImageDecodeError: Many images in a row cannot be decoded.
        """
        first = self._plan.image(sample)
        unreadable = ""
        for attempt in range(min(_SUBSTITUTES, len(self._keys))):
            key = self._keys[(first + attempt) % len(self._keys)]
            try:
                image = read_gray(self._store, key, self._record.max_pixels)
            except (NotFoundError, ImageDecodeError) as error:
                unreadable, last = unreadable or key, error
                continue
            generator = None if self._record.single_image else self._plan.generator(sample)
            return _to_sample(self._record, image, generator), unreadable
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


def read_batches(job: TrainingJob, share: Share) -> Iterator[tuple[Tensor, list[str]]]:
    """Yield a worker's batches `(B, 1, H, W)` uint8, with the images that could not be read.

    Threads read a bounded number of samples ahead. Ray Data is not used, because its tasks need
    resources in addition to the workers: with two workers on two CPUs it would wait forever.
    """
    steps = job.record.steps - share.first_step
    samples = _Samples(job)
    if job.record.single_image:
        crop, _ = samples.read(0)
        images = torch.from_numpy(crop)[None, None].expand(share.size, -1, -1, -1)
        yield from ((images, []) for _ in range(steps))
        return
    ahead = share.size * _BATCHES_AHEAD + _READERS
    with ThreadPoolExecutor(_READERS, thread_name_prefix="read") as pool:
        numbers = iter(range(steps * share.size))

        def read(number: int) -> Future[tuple[NDArray[np.uint8], str]]:
            return pool.submit(samples.read, share.sample(number))

        pending = deque(read(number) for number in itertools.islice(numbers, ahead))
        try:
            for _ in range(steps):
                found = [pending.popleft().result() for _ in range(share.size)]
                pending.extend(read(number) for number in itertools.islice(numbers, share.size))
                crops = torch.from_numpy(np.stack([crop for crop, _ in found])).unsqueeze(1)
                yield crops, [name for _, name in found if name]
        finally:
            pool.shutdown(wait=False, cancel_futures=True)
