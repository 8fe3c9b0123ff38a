"""Training of networks: plan or resume, train, and write weights with a card."""

from __future__ import annotations

import importlib
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

from cluster.session import installed_software, ray_session
from cluster.storage import Store, claim_location, find_record, redact
from cluster.training import (
    IMAGES_KEY,
    Checkpoint,
    TrainingJob,
    TrainingRecord,
    find_checkpoint,
    publish_training,
    write_images,
)
from fusion_core.choices import Trainable
from fusion_core.errors import InvalidValueError, IrfuseError, StorageError
from fusion_core.training import PAPER, AnyTrainingParameters, parameters_of
from jobs.options import TrainOptions
from jobs.progress import Progress, SilentProgress, note_changed_code
from jobs.training_images import find_training_images, source_of, training_store

if TYPE_CHECKING:
    from cluster.training import TrainingProgress

_EPOCHS = 4
_SINGLE_IMAGE_STEPS = 2000
_ADVERSARIAL_STEPS = 20_000
"""About as many as in 10 epochs of the 64381 crops of the FusionGAN paper, in batches of 32."""
_PARAMETERS = {
    name for model in map(parameters_of, get_args(Trainable)) for name in model.model_fields
}
"""Names of the options that are parameters of some training."""


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
    """Train the network of METHOD: autoencoders on images, fusiongan on pairs.

    Writes METHOD.safetensors for --weights, a card with its metadata, and the learning curves. Run
    the same command again to resume from the last checkpoint after any interruption.

    Args:
        options: Options of the job.
        progress: Receives the progress; silent by default.

    Raises:
        InvalidValueError: The options contradict each other.
        ManifestError: There are no pairs.
        NotFoundError: There are no images.
        RunConflictError: The output location holds a training with other settings.
        RunFailedError: Workers cannot be placed or keep dying, or the loss is not finite.
        StorageError: A location cannot be read or written.
    """
    _require_packages()
    progress = progress or SilentProgress()
    parameters = _parameters(options)
    source = source_of(options, parameters.sources)
    out = options.store(options.out)
    record = _plan(options, parameters, source, out, progress)

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


def _parameters(options: TrainOptions) -> AnyTrainingParameters:
    """Return the parameters: those that are given, and otherwise those of the method's paper.

    Raises:
        InvalidValueError: An option is not one of the method.
    """
    model = parameters_of(options.method)
    single = options.single_image is not None
    values: dict[str, Any] = {**PAPER[options.method], **({"batch": 1} if single else {})}
    for name in TrainOptions.model_fields:
        given = getattr(options, name)
        if name in model.model_fields:
            if given is not None:
                values[name] = given
        elif given is not None and name in _PARAMETERS:
            raise InvalidValueError(
                f"--{name.replace('_', '-')} is not a parameter of the training of {options.method}"
            )
    parameters = model(**values)
    if parameters.batch % options.workers:
        raise InvalidValueError(
            f"A batch of {parameters.batch} cannot be shared evenly by {options.workers} workers; "
            "set --batch to a multiple of --workers"
        )
    return parameters


def _steps(options: TrainOptions, parameters: AnyTrainingParameters, images: int) -> int:
    """Return the number of steps, which may depend on the number of images."""
    if options.iterations is not None:
        return options.iterations
    if options.epochs is None and options.single_image is not None:
        return _SINGLE_IMAGE_STEPS
    if options.epochs is None and parameters.sources == 2:
        return _ADVERSARIAL_STEPS
    return -(-images * (options.epochs or _EPOCHS) // parameters.batch)


def _plan(
    options: TrainOptions,
    parameters: AnyTrainingParameters,
    source: str,
    out: Store,
    progress: Progress,
) -> TrainingRecord:
    """Create the record of the training, or check that an existing one has the same settings."""
    found = find_record(out, TrainingRecord)
    what = "images" if parameters.sources == 1 else "pairs"
    progress.message(f"Looking for {what} in {redact(source)}")
    images, digest = find_training_images(options, progress)
    if options.validation and (options.single_image or options.validation >= len(images)):
        raise InvalidValueError(
            f"--validation {options.validation} leaves nothing to train on: {what}: {len(images)}"
        )
    if parameters.sources == 2 and options.fit != "crop":
        raise InvalidValueError(f"--fit is not for {options.method}, which learns from crops")
    requested = TrainingRecord(
        parameters=parameters,
        steps=_steps(options, parameters, len(images) - options.validation),
        images=redact(source),
        image_count=len(images),
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
        write_images(out, images)
    return record


def _compute(
    options: TrainOptions, record: TrainingRecord, out: Store, progress: Progress, first_step: int
) -> Checkpoint:
    cluster = options.cluster()
    start = f"from step {first_step}" if first_step else "from the start"
    what = "images" if record.parameters.sources == 1 else "pairs"
    progress.note(f"Training {record.steps} steps {start}; {what}: {record.image_count}")
    with ray_session(cluster, progress.message):
        from cluster.training import run_training

        images = training_store(options)
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
