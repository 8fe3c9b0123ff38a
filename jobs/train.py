"""Training of the autoencoders: plan or resume, train, and leave weights with a card."""

from __future__ import annotations

import hashlib
import importlib
import io
import json
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict
from safetensors.torch import save as save_safetensors

from cluster.collections.names import is_image
from cluster.runs.record import check_same_settings, find_record
from cluster.session.ray_session import ClusterOptions, ray_session
from cluster.storage.locations import redact, split_query
from cluster.storage.reader import split_object_url
from cluster.storage.store import Store
from cluster.training.checkpoints import Checkpoint, find_checkpoint
from cluster.training.samples import IMAGES_KEY, TrainingJob, read_images, write_images
from fusion_core.errors import InvalidValueError, IrfuseError, NotFoundError, StorageError
from fusion_core.training.parameters import PAPER, TrainingParameters
from jobs.console.progress import Progress, SilentProgress
from jobs.options import TrainOptions

if TYPE_CHECKING:
    from cluster.training.driver import TrainingProgress

TRAIN_KEY = "train.json"
CURVES_KEY = "curves.parquet"
PICTURE_KEY = "curves.png"

_SINGLE_IMAGE_STEPS = 2000
_LAST_STEPS = 100
_FEW_FILES = 32
"""So many the card names one by one."""
_SMOOTHED = 50
"""Points of the curves' picture are means over this share of the steps."""


class TrainRecord(BaseModel):
    """The content of `train.json`: what was asked for, written once."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    parameters: TrainingParameters
    steps: int
    images: str
    """Folder, or the one image."""
    image_count: int
    images_digest: str
    """SHA-256 of the images' names and sizes in bytes."""
    single_image: bool
    max_pixels: int
    irfuse_version: str
    torch_version: str
    created: str

    @property
    def settings(self) -> dict[str, Any]:
        """All that decides what comes out."""
        found = self.model_dump(exclude={"images", "created", "parameters"})
        return {**self.parameters.model_dump(), **found}

    @property
    def fingerprint(self) -> str:
        """SHA-256 of the settings."""
        return hashlib.sha256(json.dumps(self.settings, sort_keys=True).encode()).hexdigest()


@dataclass(frozen=True, slots=True)
class TrainResult:
    """What a finished training left behind."""

    out: str
    weights: str
    """Where the trained weights are."""
    steps: int
    computed: int
    """Steps that this call computed; the others were there already."""
    card: dict[str, Any]
    """What is written beside the weights."""


def train(options: TrainOptions, progress: Progress | None = None) -> TrainResult:
    """Train an autoencoder to reconstruct images; resumes what an earlier call left.

    Args:
        options: What to do.
        progress: Where to tell how far it is; silent by default.

    Raises:
        InvalidValueError: Options do not fit together.
        NotFoundError: There are no images.
        RunConflictError: The output location holds a training with other settings.
        RunFailedError: Workers cannot be had or keep dying, or the loss is not a number.
        StorageError: Something cannot be read or written.
    """
    _require_packages()
    progress = progress or SilentProgress()
    parameters, steps = _parameters(options)
    out = Store(options.out, options.storage_options)
    record = _plan(options, parameters, steps, out, progress)

    found = find_checkpoint(out, record.fingerprint)
    begun = 0 if found is None else found.step
    if found is None or begun < record.steps:
        found = _compute(options, record, out, progress, begun)
    progress.message("Writing weights and curves")
    card = _publish(out, record, found)
    name = f"{record.parameters.method}.safetensors"
    return TrainResult(out.url, out.uri(name), record.steps, record.steps - begun, card)


def _require_packages() -> None:
    for name in ("pandas", "matplotlib", "ray.train"):
        try:
            importlib.import_module(name)
        except ImportError:
            raise IrfuseError(
                f"Training needs more packages ({name} is missing): pip install 'irfuse[train]', "
                "or '.[train]' in a checkout"
            ) from None


def _parameters(options: TrainOptions) -> tuple[TrainingParameters, int | None]:
    """Return what a step does, and the number of steps where it does not depend on the images."""
    if (options.images is None) == (options.single_image is None):
        raise InvalidValueError("Expected either --images or --single-image")
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
) -> TrainRecord:
    """Create the training, or find it again and make sure that it is the same."""
    found = _find_record(out)
    source = options.images or options.single_image or ""
    progress.message(f"Looking for images in {redact(source)}")
    keys, digest = _list_images(options)
    if steps is None:
        steps = -(-len(keys) * options.epochs // parameters.batch)
    wanted = TrainRecord(
        parameters=parameters,
        steps=steps,
        images=redact(source),
        image_count=len(keys),
        images_digest=digest,
        single_image=options.single_image is not None,
        max_pixels=options.max_pixels,
        irfuse_version=version("irfuse"),
        torch_version=version("torch"),
        created=datetime.now(UTC).isoformat(timespec="seconds"),
    )
    if found is None:
        created = out.create(TRAIN_KEY, wanted.model_dump_json(indent=2).encode())
        found = wanted if created else _find_record(out)
        assert found is not None
    check_same_settings("training", found.settings, wanted.settings)
    if not out.exists(IMAGES_KEY):
        write_images(out, keys)
    return found


def _find_record(out: Store) -> TrainRecord | None:
    return find_record(out, TRAIN_KEY, TrainRecord, "training")


def _list_images(options: TrainOptions) -> tuple[list[str], str]:
    """Return the keys of the images in a fixed order, and a digest of names and sizes."""
    folder, name = _place(options)
    store = Store(folder, options.storage_options)
    if name:
        data = store.read(name)
        return [name], hashlib.sha256(data).hexdigest()
    entries = [entry for entry in store.entries() if is_image(entry.key)]
    if not entries:
        raise NotFoundError(
            f"There are no images in {store.url}; expected files such as .jpg or .png in it or in "
            "folders below it"
        )
    digest = hashlib.sha256()
    for entry in entries:
        digest.update(f"{entry.key}\0{entry.size}\n".encode())
    return [entry.key for entry in entries], digest.hexdigest()


def _place(options: TrainOptions) -> tuple[str, str]:
    """Return the folder of the images, and the name of the image if it is one."""
    if options.single_image is not None:
        if split_query(options.single_image)[1]:
            raise InvalidValueError(
                "--single-image is a URL with a query; download the image first"
            )
        return split_object_url(options.single_image)
    return options.images or "", ""


def _compute(
    options: TrainOptions, record: TrainRecord, out: Store, progress: Progress, begun: int
) -> Checkpoint:
    cluster = ClusterOptions(
        address=options.address,
        workers=options.workers,
        device=options.device,
        start_timeout_s=options.start_timeout,
    )
    begins = f"from step {begun}" if begun else "from the start"
    progress.message(f"Training {record.steps} steps {begins}; images: {record.image_count}")
    progress.message("Starting Ray and the workers")
    with ray_session(cluster):
        from cluster.training.driver import run_training

        folder, _ = _place(options)
        job = TrainingJob(
            out_url=out.url,
            images_url=Store(folder, options.storage_options).url,
            parameters=record.parameters,
            steps=record.steps,
            checkpoint_every=options.checkpoint_every,
            fingerprint=record.fingerprint,
            max_pixels=record.max_pixels,
            middle=record.single_image,
            storage_options=options.storage_options,
        )
        run_training(job, cluster, lambda state: _tell(progress, state))
    found = find_checkpoint(out, record.fingerprint)
    if found is None or found.step < record.steps:
        raise StorageError(f"{out.url} lost the last checkpoint; run the same command again")
    return found


def _tell(progress: Progress, state: TrainingProgress) -> None:
    losses = ", ".join(f"{name} {loss:.4g}" for name, loss in state.losses.items())
    progress.steps(state.step, state.steps, f"loss: {losses}" if losses else "")


def _publish(out: Store, record: TrainRecord, checkpoint: Checkpoint) -> dict[str, Any]:
    """Write weights, their card, and the learning curves."""
    method = record.parameters.method
    state = checkpoint.state
    prefix = "network."
    tensors = {
        name.removeprefix(prefix): state[name] for name in sorted(state) if name.startswith(prefix)
    }
    card = _card(record, checkpoint, read_images(out))
    about = {name: card[name] for name in ("method", "parameters", "steps", "data")}
    weights = save_safetensors(tensors, {"irfuse": json.dumps(about, sort_keys=True)})
    card["sha256"] = hashlib.sha256(weights).hexdigest()
    out.write(CURVES_KEY, _curves_table(record, checkpoint.curves))
    out.write(PICTURE_KEY, _curves_picture(record, checkpoint.curves))
    out.write(f"{method}.safetensors", weights)
    out.write(f"{method}.json", json.dumps(card, indent=2).encode())
    return card


def _card(record: TrainRecord, checkpoint: Checkpoint, files: list[str]) -> dict[str, Any]:
    last = checkpoint.curves[-_LAST_STEPS:].mean(axis=0)
    seconds = max(checkpoint.seconds, 1e-9)
    return {
        "method": record.parameters.method,
        "parameters": record.parameters.model_dump(),
        "steps": record.steps,
        "data": {
            "images": record.images,
            "count": record.image_count,
            "digest": record.images_digest,
            "files": files if len(files) <= _FEW_FILES else [],
            "single_image": record.single_image,
            "unreadable": list(checkpoint.unreadable),
        },
        "losses": dict(zip(("total", "pixel", "ssim"), map(float, last), strict=True)),
        "seconds": round(seconds, 1),
        "steps_per_second": round(checkpoint.step / seconds, 3),
        "share_outside_passes": round(1.0 - checkpoint.busy_seconds / seconds, 4),
        "irfuse_version": record.irfuse_version,
        "torch_version": record.torch_version,
        "created": record.created,
    }


def _curves_table(record: TrainRecord, curves: NDArray[np.float64]) -> bytes:
    steps = np.arange(1, len(curves) + 1)
    table = pa.table(
        {
            "step": pa.array(steps, pa.int64()),
            "epoch": pa.array(steps * record.parameters.batch / record.image_count, pa.float64()),
            "loss": pa.array(curves[:, 0], pa.float64()),
            "pixel_loss": pa.array(curves[:, 1], pa.float64()),
            "ssim_loss": pa.array(curves[:, 2], pa.float64()),
        }
    )
    sink = pa.BufferOutputStream()
    pq.write_table(table, sink)
    return sink.getvalue().to_pybytes()  # type: ignore[no-any-return]


def _curves_picture(record: TrainRecord, curves: NDArray[np.float64]) -> bytes:
    from matplotlib.figure import Figure

    norm = "Euclidean distance" if record.parameters.pixel_norm == "euclidean" else "mean square"
    figure = Figure(figsize=(12, 3.6), layout="constrained")
    steps = np.arange(1, len(curves) + 1)
    width = max(1, len(curves) // _SMOOTHED)
    for place, title in enumerate(("loss", f"pixel loss ({norm})", "1 - SSIM")):
        axes = figure.add_subplot(1, 3, place + 1)
        curve = curves[:, place]
        axes.plot(steps, curve, linewidth=0.5, alpha=0.4)
        smooth = np.convolve(curve, np.full(width, 1.0 / width), mode="valid")
        axes.plot(steps[width - 1 :], smooth, linewidth=1.5)
        if (curve > 0.0).all():
            axes.set_yscale("log")
        axes.set_title(title)
        axes.set_xlabel("step")
        axes.grid(visible=True, alpha=0.3)
    figure.suptitle(f"{record.parameters.method}, {record.steps} steps")
    sink = io.BytesIO()
    figure.savefig(sink, format="png", dpi=100, metadata={"Software": None})
    return sink.getvalue()
