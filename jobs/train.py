"""Training of the autoencoders: plan or resume, train, and write weights with a card."""

from __future__ import annotations

import hashlib
import importlib
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cluster.session import installed_software, ray_session
from cluster.storage import Store, claim_location, find_record, redact, split_query
from cluster.training import (
    IMAGES_KEY,
    Checkpoint,
    TrainingJob,
    TrainingRecord,
    find_checkpoint,
    publish_training,
    write_images,
)
from fusion_core.errors import InvalidValueError, IrfuseError, StorageError
from fusion_core.training import PAPER, TrainingParameters
from jobs.image_folders import list_images
from jobs.options import TrainOptions
from jobs.progress import Progress, SilentProgress, note_changed_code

if TYPE_CHECKING:
    from cluster.training import TrainingProgress

_SINGLE_IMAGE_STEPS = 2000


@dataclass(frozen=True, slots=True)
class TrainResult:
    """Result of a finished training."""

    out: str
    weights: str
    """Location of the trained weights."""
    steps: int
    computed: int
    """Number of steps that this call computed; the others existed already."""
    card: dict[str, Any]
    """The card that is written next to the weights."""


def train(options: TrainOptions, progress: Progress | None = None) -> TrainResult:
    """Train the autoencoder of METHOD to reconstruct images.

    Writes METHOD.safetensors for --weights, a card with its metadata, and the learning curves. Run
    the same command again to resume from the last checkpoint after any interruption.

    Args:
        options: Options of the job.
        progress: Receives the progress; silent by default.

    Raises:
        InvalidValueError: The options contradict each other.
        NotFoundError: There are no images.
        RunConflictError: The output location holds a training with other settings.
        RunFailedError: Workers cannot be placed or keep dying, or the loss is not finite.
        StorageError: A location cannot be read or written.
    """
    _require_packages()
    progress = progress or SilentProgress()
    parameters, steps = _parameters(options)
    out = options.store(options.out)
    record = _plan(options, parameters, steps, out, progress)

    found = find_checkpoint(out, record.fingerprint)
    first_step = 0 if found is None else found.step
    if found is None or first_step < record.steps:
        found = _compute(options, record, out, progress, first_step)
    progress.message("Writing weights and curves")
    card = publish_training(out, record, found)
    name = f"{record.parameters.method}.safetensors"
    return TrainResult(out.url, out.uri(name), record.steps, record.steps - first_step, card)


def _require_packages() -> None:
    try:
        Path.home()
    except RuntimeError:
        raise IrfuseError(
            "Training requires a home folder, which Ray Train looks for, and this user has none; "
            "set HOME to a folder"
        ) from None
    for name in ("pandas", "matplotlib", "ray.train"):
        try:
            importlib.import_module(name)
        except ImportError:
            raise IrfuseError(
                f"Training requires additional packages ({name} is missing): pip install "
                "'irfuse[train]', or '.[train]' in a checkout"
            ) from None


def _parameters(options: TrainOptions) -> tuple[TrainingParameters, int | None]:
    """Return the parameters, and the number of steps unless it depends on the images."""
    if (options.images is None) == (options.single_image is None):
        raise InvalidValueError(
            "Expected either --images or --single-image, but got both or neither"
        )
    single = options.single_image is not None
    values: dict[str, Any] = {**PAPER[options.method], **({"batch": 1} if single else {})}
    for name in TrainingParameters.model_fields:
        given = getattr(options, name)
        if given is not None:
            values[name] = given
    parameters = TrainingParameters(**values)
    if parameters.batch % options.workers:
        raise InvalidValueError(
            f"A batch of {parameters.batch} cannot be shared evenly by {options.workers} workers; "
            "set --batch to a multiple of --workers"
        )
    return parameters, options.iterations or (_SINGLE_IMAGE_STEPS if single else None)


def _plan(
    options: TrainOptions,
    parameters: TrainingParameters,
    steps: int | None,
    out: Store,
    progress: Progress,
) -> TrainingRecord:
    """Create the record of the training, or check that an existing one has the same settings."""
    found = find_record(out, TrainingRecord)
    source = options.images or options.single_image or ""
    progress.message(f"Looking for images in {redact(source)}")
    keys, digest = _list_images(options, progress)
    if options.validation and (options.single_image or options.validation >= len(keys)):
        raise InvalidValueError(
            f"--validation {options.validation} leaves no image to train on: there "
            f"{'is 1' if len(keys) == 1 else f'are {len(keys)}'}"
        )
    if steps is None:
        trained_on = len(keys) - options.validation
        steps = -(-trained_on * options.epochs // parameters.batch)
    requested = TrainingRecord(
        parameters=parameters,
        steps=steps,
        images=redact(source),
        image_count=len(keys),
        images_digest=digest,
        single_image=options.single_image is not None,
        validation=options.validation,
        fit=options.fit,
        max_pixels=options.max_pixels,
        irfuse_version=version("irfuse"),
        torch_version=version("torch"),
        code_sha256=installed_software().code_sha256,
    )
    record = claim_location(out, requested, found)
    note_changed_code(record, requested, progress)
    if not out.exists(IMAGES_KEY):
        write_images(out, keys)
    return record


def _list_images(options: TrainOptions, progress: Progress) -> tuple[list[str], str]:
    """Return the keys of the images in a fixed order, and a digest of names and sizes."""
    store, name = _locate_images(options)
    if name:
        data = store.read(name)
        return [name], hashlib.sha256(data).hexdigest()
    entries = list_images(store, progress)
    digest = hashlib.sha256()
    for entry in entries:
        digest.update(f"{entry.key}\0{entry.size}\n".encode())
    return [entry.key for entry in entries], digest.hexdigest()


def _locate_images(options: TrainOptions) -> tuple[Store, str]:
    """Return the folder of the images, and the name of a single image."""
    if options.single_image is None:
        return options.store(options.images or ""), ""
    if split_query(options.single_image)[1]:
        raise InvalidValueError("--single-image is a URL with a query; download the image first")
    return options.file(options.single_image)


def _compute(
    options: TrainOptions, record: TrainingRecord, out: Store, progress: Progress, first_step: int
) -> Checkpoint:
    cluster = options.cluster()
    start = f"from step {first_step}" if first_step else "from the start"
    progress.note(f"Training {record.steps} steps {start}; images: {record.image_count}")
    with ray_session(cluster, progress.message):
        from cluster.training import run_training

        images, _ = _locate_images(options)
        job = TrainingJob(record, out, images, options.checkpoint_every, installed_software())
        run_training(job, cluster, lambda state: _show(progress, state), progress.message)
    found = find_checkpoint(out, record.fingerprint)
    if found is None or found.step < record.steps:
        raise StorageError(
            f"The last checkpoint in {out.url} is missing; run the same command again"
        )
    return found


def _show(progress: Progress, state: TrainingProgress) -> None:
    losses = ", ".join(f"{name} {loss:.4g}" for name, loss in state.losses.items())
    progress.steps(state.step, state.steps, f"loss: {losses}" if losses else "")
