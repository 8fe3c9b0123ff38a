from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from support.reference_files import deep_png

from cluster.session.software import installed_software
from cluster.storage.store import Store
from cluster.training.record import TrainingJob, TrainingRecord
from cluster.training.samples import (
    IMAGES_KEY,
    SampleImages,
    SamplePlan,
    Share,
    read_batches,
    read_images,
    read_validation,
    split_images,
    write_images,
)
from fusion_core.errors import ImageDecodeError, NotFoundError, StorageError
from fusion_core.images.encoding import encode_png
from fusion_core.training import resize_image
from fusion_core.training.parameters import AdversarialParameters, ReconstructionParameters

PARAMETERS = ReconstructionParameters(
    method="densefuse", pixel_norm="mse", ssim_weight=1.0, learning_rate=1e-4, batch=4, crop=12
)


def images_of(*keys: str) -> list[SampleImages]:
    return [SampleImages(key, (key,)) for key in keys]


def picture(number: int, size: tuple[int, int] = (20, 24)) -> NDArray[np.uint8]:
    return np.random.default_rng(number).integers(0, 256, size, dtype=np.uint8)


@pytest.fixture
def job(tmp_path: Path) -> TrainingJob:
    store = Store(str(tmp_path / "images"))
    keys = [f"{number}.png" for number in range(5)]
    for number, key in enumerate(keys):
        store.write(key, encode_png(picture(number)))
    out = Store(str(tmp_path / "out"))
    write_images(out, images_of(*keys))
    record = TrainingRecord(
        parameters=PARAMETERS, steps=6, images=store.url, image_count=5, images_digest="d",
        single_image=False, max_pixels=10_000, irfuse_version="0", torch_version="0",
    )  # fmt: skip
    return TrainingJob(record, out, store, checkpoint_every=10, software=installed_software())


def with_record(job: TrainingJob, **changed: Any) -> TrainingJob:
    return replace(job, record=job.record.model_copy(update=changed))


def crops(job: TrainingJob, share: Share) -> list[NDArray[np.uint8]]:
    return [batch.images.numpy() for batch in read_batches(job, share)]


def test_images_that_are_held_out_are_in_no_batch(job: TrainingJob) -> None:
    split = with_record(job, validation=2, fit="resize", steps=20)
    keys = [each.name for each in read_images(job.out)]
    learned, held_out = split_images(keys, 2, PARAMETERS.seed)
    assert (len(learned), len(held_out)) == (3, 2)
    assert sorted([*learned, *held_out]) == keys
    images = {key: picture(int(key.removesuffix(".png"))) for key in keys}
    resized = {key: resize_image(image, 12).tobytes() for key, image in images.items()}
    seen = {crop.tobytes() for batch in crops(split, Share(0, 4, 0, 1)) for crop in batch[:, 0]}
    assert seen == {resized[key] for key in learned}
    found = read_validation(split)[:, 0].numpy()
    assert [sample.tobytes() for sample in found] == [resized[key] for key in held_out]


def test_the_center_of_images_that_are_held_out_is_taken_as_far_as_they_can_be_read(
    job: TrainingJob,
) -> None:
    split = with_record(job, validation=2)
    _, held_out = split_images([each.name for each in read_images(job.out)], 2, PARAMETERS.seed)
    job.images.write(held_out[0], b"no image")
    image = picture(int(held_out[1].removesuffix(".png")))
    [found] = read_validation(split)[:, 0].numpy()
    assert np.array_equal(found, image[4:16, 6:18])
    job.images.delete(held_out[1])
    assert read_validation(split).shape == (0, 1, 12, 12)


def test_an_epoch_takes_each_image_once_in_an_order_of_its_own() -> None:
    plan = SamplePlan(images=7, seed=3)
    epochs = [[plan.image(7 * epoch + place) for place in range(7)] for epoch in range(4)]
    assert all(sorted(epoch) == list(range(7)) for epoch in epochs)
    assert len({tuple(epoch) for epoch in epochs}) > 1
    assert [plan.image(n) for n in range(7)] != [SamplePlan(7, 4).image(n) for n in range(7)]


def test_workers_share_every_batch_without_gap_or_overlap() -> None:
    whole = [Share(2, 6, 0, 1).sample(n) for n in range(18)]
    assert whole == list(range(12, 30))
    parts = [[Share(2, 6, rank, 3).sample(n) for n in range(6)] for rank in range(3)]
    joined = [sample for step in range(3) for part in parts for sample in part[2 * step :][:2]]
    assert joined == whole


def test_batches_are_gray_crops_in_order(job: TrainingJob) -> None:
    batches = crops(job, Share(0, 4, 0, 1))
    assert [batch.shape for batch in batches] == [(4, 1, 12, 12)] * 6
    plan = SamplePlan(5, 0)
    for number, crop in enumerate(np.concatenate(batches)[:, 0]):
        source = picture(plan.image(number))
        windows = np.lib.stride_tricks.sliding_window_view(source, (12, 12))
        assert (windows == crop).all(axis=(2, 3)).any()


def test_batches_from_a_later_step_or_of_two_workers_are_the_same(job: TrainingJob) -> None:
    whole = crops(job, Share(0, 4, 0, 1))
    later = crops(job, Share(4, 4, 0, 1))
    assert np.array_equal(later, whole[4:])
    halves = [crops(job, Share(0, 4, rank, 2)) for rank in (0, 1)]
    assert np.array_equal(np.concatenate(halves, axis=1), whole)


def test_an_image_that_cannot_be_read_is_replaced_and_named(job: TrainingJob) -> None:
    store = job.images
    store.write("1.png", b"not an image")
    store.delete("3.png")
    found = list(read_batches(with_record(job, steps=5), Share(0, 4, 0, 1)))
    assert {name for batch in found for name in batch.unreadable} == {"1.png", "3.png"}
    assert all(batch.images.shape == (4, 1, 12, 12) for batch in found)


def test_images_of_which_none_can_be_read_are_an_error_that_names_one(job: TrainingJob) -> None:
    for number in range(5):
        job.images.write(f"{number}.png", b"not an image")
    with pytest.raises(ImageDecodeError, match=r"images/\d\.png: "):
        crops(job, Share(0, 4, 0, 1))
    for number in range(5):
        job.images.delete(f"{number}.png")
    with pytest.raises(NotFoundError, match=r"Cannot read .*\.png"):
        crops(job, Share(0, 4, 0, 1))


def test_a_single_image_gives_its_middle_again_and_again(job: TrainingJob) -> None:
    write_images(job.out, images_of("2.png"))
    batches = crops(with_record(job, single_image=True), Share(3, 4, 0, 2))
    assert len(batches) == 3
    assert all((batch == picture(2)[4:16, 6:18]).all() for batch in batches)


def test_colour_and_deep_images_become_gray(job: TrainingJob) -> None:
    colour = np.zeros((20, 24, 3), np.uint8)
    colour[..., 1] = 100
    deep = np.tile(np.linspace(0, 65535, 24).astype(np.uint16), (20, 1))
    store = job.images
    store.write("0.png", encode_png(colour))
    write_images(job.out, images_of("0.png"))
    assert set(np.concatenate(crops(job, Share(0, 4, 0, 1))).ravel()) == {59}
    store.write("0.png", deep_png(deep))
    assert len(set(np.concatenate(crops(job, Share(0, 4, 0, 1))).ravel())) > 8


@pytest.mark.parametrize("part", ["all of it", "a page"])
def test_a_damaged_list_of_images_is_told(job: TrainingJob, part: str) -> None:
    data = bytearray(job.out.read(IMAGES_KEY))
    data[30] ^= 1  # in the names
    job.out.write(IMAGES_KEY, bytes(data) if part == "a page" else b"damaged")
    with pytest.raises(StorageError, match=r"images\.parquet is damaged"):
        read_images(job.out)


@pytest.fixture
def pair_job(tmp_path: Path) -> TrainingJob:
    store = Store(str(tmp_path / "pairs"))
    for number in range(3):
        store.write(f"ir/{number}.png", encode_png(picture(number, (50, 60))))
        store.write(f"vi/{number}.png", encode_png(picture(number, (50, 60)) // 2))
    out = Store(str(tmp_path / "out"))
    pairs = [
        SampleImages(str(n), (store.uri(f"ir/{n}.png"), store.uri(f"vi/{n}.png"))) for n in range(3)
    ]
    write_images(out, pairs)
    parameters = AdversarialParameters(method="fusiongan", learning_rate=1e-4, batch=2, crop=44)
    record = TrainingRecord(
        parameters=parameters, steps=4, images=store.url, image_count=3, images_digest="d",
        single_image=False, max_pixels=10_000, irfuse_version="0", torch_version="0",
    )  # fmt: skip
    return TrainingJob(record, out, None, checkpoint_every=10, software=installed_software())


def test_pairs_give_the_same_crop_of_both_images(pair_job: TrainingJob) -> None:
    found = list(read_batches(pair_job, Share(0, 2, 0, 1)))
    assert [batch.samples for batch in found] == [[0, 1], [2, 3], [4, 5], [6, 7]]
    for batch in found:
        assert batch.images.shape == (2, 2, 44, 44)
        assert (batch.images[:, 1] == batch.images[:, 0] // 2).all()
    assert len({crop.numpy().tobytes() for batch in found for crop in batch.images}) == 8


def test_a_pair_whose_images_differ_in_size_is_replaced_and_named(pair_job: TrainingJob) -> None:
    Path(read_images(pair_job.out, 2)[1].locations[1]).write_bytes(encode_png(picture(9, (50, 61))))
    found = list(read_batches(pair_job, Share(0, 2, 0, 1)))
    assert {name for batch in found for name in batch.unreadable} == {"1"}
    assert all((batch.images[:, 1] == batch.images[:, 0] // 2).all() for batch in found)


def test_the_center_of_pairs_that_are_held_out_is_taken(pair_job: TrainingJob) -> None:
    split = with_record(pair_job, validation=1)
    _, [held_out] = split_images(read_images(pair_job.out, 2), 1, seed=0)
    center = picture(int(held_out.name), (50, 60))[3:47, 8:52]
    [found] = read_validation(split).numpy()
    assert np.array_equal(found, np.stack([center, center // 2]))
