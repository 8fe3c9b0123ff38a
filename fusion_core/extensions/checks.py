"""Checks of a fusion method: what goes wrong in most methods that were written for one data set."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator

import numpy as np
import torch

from fusion_core.errors import ContractError, InvalidValueError
from fusion_core.extensions.adapter import in_tiles
from fusion_core.extensions.guarding import ProcessState, guard
from fusion_core.extensions.importing import place_of
from fusion_core.extensions.method_subject import MethodSubject, PeakMemory, make_pair
from fusion_core.extensions.model_card import side_file_name
from fusion_core.extensions.models import ModelBuild
from fusion_core.extensions.outcomes import Outcome, failed, passed, skipped, warned
from fusion_core.images import luma
from fusion_core.methods.fusion import fuse_images
from fusion_core.parameters import MethodParameters

SIZES = ((1, 1), (3, 5), (64, 64), (65, 97), (280, 280), (576, 768), (1024, 1280))
"""Heights and widths with which methods are tried."""
_QUICK_SIZES = SIZES[:4]
_NUMERIC_NOISE = 1e-3
_FLAT = 1e-3
_SHORTEST_S = 1.0
_BATCH = 4
_TILE, _TILED_SIDE = 512, 640
_LLVIP_PAIRS, _LLVIP_MEGAPIXELS = 15488, 1.31072


Check = Callable[[MethodSubject], Outcome]


def check_parameters(subject: MethodSubject) -> Outcome:
    """Unknown parameters are refused."""
    try:
        subject.spec.parameters.parse({"no_such_parameter": 1})
    except InvalidValueError:
        names = set(subject.spec.parameters.model_fields) - set(MethodParameters.model_fields)
        return passed(", ".join(sorted(names)) or "none of its own")
    return failed('accepts unknown names; leave extra="forbid" of MethodParameters as it is')


def check_runs(subject: MethodSubject) -> Outcome:
    """A pair is fused without an exception."""
    started = time.perf_counter()
    try:
        subject.fuse(subject.sources(make_pair(64, 64)))
    except ContractError:
        pass  # another check names what it returns
    except Exception as error:  # noqa: BLE001 - code of the user
        return explain(subject, error)
    return passed(f"64x64 in {time.perf_counter() - started:.2g} s")


def explain(subject: MethodSubject, error: Exception) -> Outcome:
    """Return the outcome of a check in which the method raised an exception."""
    if isinstance(error, ContractError):
        return skipped(f"not checked, because it returns something else ({error.aspect})")
    if subject.attempts:
        return skipped(f"not checked, because it needs the network ({subject.attempts[0]})")
    text = " ".join(str(error).split())[:200]
    return failed(f"{text or 'no message'} ({type(error).__name__}{place_of(error)})")


def _explained(check: Check) -> Check:
    """Turn what the method raises into an outcome."""

    def run(subject: MethodSubject) -> Outcome:
        try:
            return check(subject)
        except Exception as error:  # noqa: BLE001 - code of the user
            return explain(subject, error)

    run.__doc__ = check.__doc__
    return run


def _tried_sizes(subject: MethodSubject) -> Iterator[tuple[tuple[int, int], ContractError | None]]:
    """Yield the sizes that take not too long, and what is wrong with the result."""
    for size in _QUICK_SIZES if subject.quick else SIZES:
        if subject.affordable(*size):
            wrong = None
            try:
                subject.fuse(subject.sources(make_pair(*size)))
            except ContractError as error:
                wrong = error
            yield size, wrong


def check_sizes(subject: MethodSubject) -> Outcome:
    """Results have the size of their sources, one pixel as well as a megapixel."""
    tried = []
    for (height, width), wrong in _tried_sizes(subject):
        tried.append(f"{width}x{height}")
        if wrong is not None and wrong.aspect == "size":
            return failed(f"{wrong}; {_size_remedy(str(wrong))}", tried[-1])
        if wrong is not None and wrong.aspect == "type":
            return failed(str(wrong), tried[-1])
    return passed(", ".join(tried))


def _size_remedy(message: str) -> str:
    if "3)," in message or ", 3, " in message:
        return "for results of R, G and B, state @irfuse.method(channels=3)"
    return "@irfuse.method(pad_multiple=…) pads sources and crops results"


def check_finite(subject: MethodSubject) -> Outcome:
    """Results have neither NaN nor infinite values."""
    flat = np.full((40, 50), 7, np.uint8)
    cases = {"black images": np.zeros_like(flat), "flat images": flat}
    for name, image in cases.items():
        try:
            subject.fuse(subject.sources((image, image)))
        except ContractError as error:
            if error.aspect == "values":
                return failed(f"{error}, of {name}; a division by a range of 0?")
            return explain(subject, error)
    for (height, width), wrong in _tried_sizes(subject):
        if wrong is not None and wrong.aspect == "values":
            return failed(str(wrong), f"{width}x{height}")
    return passed()


def check_not_constant(subject: MethodSubject) -> Outcome:
    """The result shows something of the sources."""
    fused = subject.fuse(subject.sources(subject.example)).float()
    low, high = float(fused.min()), float(fused.max())
    if high - low <= _FLAT * max(abs(low), abs(high)):
        return failed("the result is the same everywhere", f"{low:.4g}..{high:.4g}")
    return passed()


def check_range(subject: MethodSubject) -> Outcome:
    """Values are gray levels in 0..255, after what the output range states."""
    fused = subject.fuse(subject.sources(subject.example)).float()
    low, high = float(fused.min()), float(fused.max())
    found = f"{low:.3g}..{high:.3g}"
    if subject.parameters.output_range == "minmax":
        return passed(f"{found}, each image scaled")
    if high <= 4.0:
        return failed(
            "the result is nearly black: the method returns values in 0..1; state it with "
            "@irfuse.method(input_range=(0, 1)), or output_range=(0, 1) if its input is in 0..255",
            found, "0..255",
        )  # fmt: skip
    cut = float(((fused < -0.5) | (fused > 255.5)).float().mean())
    if cut > 0.05:
        return warned(
            f"{cut:.0%} of the pixels are outside and are clipped; state output_range", found,
            "0..255",
        )  # fmt: skip
    return passed(found, "0..255")


def check_batch(subject: MethodSubject) -> Outcome:
    """The result for a pair does not depend on the other pairs of its batch."""
    pairs = [make_pair(64, 96, seed) for seed in range(_BATCH)]
    together = subject.fuse(subject.sources(*pairs))
    alone = torch.cat([subject.fuse(subject.sources(pair)) for pair in pairs])
    difference = float((together - alone).abs().max())
    if difference > _NUMERIC_NOISE:
        return failed(
            "results depend on the rest of the batch: batch normalisation without eval(), or a "
            "minimum, maximum or mean over the whole batch; batch=False fuses pairs one by one",
            difference, _NUMERIC_NOISE,
        )  # fmt: skip
    return passed(difference, _NUMERIC_NOISE)


def check_determinism(subject: MethodSubject) -> Outcome:
    """Two calls return the same."""
    sources, fuse = subject.sources(subject.example), guard(subject.fuse)
    difference = float((fuse(sources) - fuse(sources)).abs().max())
    if difference > _NUMERIC_NOISE:
        return failed(
            "two calls differ: it keeps something between calls, or draws random numbers from a "
            "generator of its own without a seed",
            difference, _NUMERIC_NOISE,
        )  # fmt: skip
    return passed(difference, _NUMERIC_NOISE)


def check_order(subject: MethodSubject) -> Outcome:
    """The infrared and the visible image are told apart."""
    sources = subject.sources(subject.example)
    difference = float((subject.fuse(sources) - subject.fuse(sources.flip(0))).abs().max())
    if difference <= _NUMERIC_NOISE:
        return warned("exchanged sources give the same result; is the second one used?", difference)
    return passed(difference)


def check_tiling(subject: MethodSubject) -> Outcome:
    """An image that is fused in tiles is the same as one that is fused whole."""
    if subject.quick or not subject.affordable(2 * _TILED_SIDE, 2 * _TILED_SIDE):
        return skipped("not checked with --quick, or because it would take too long")
    sources = subject.sources(make_pair(_TILED_SIDE, _TILED_SIDE))
    whole = subject.fuse(sources)
    tiled = in_tiles(subject.fuse, sources, (_TILE, _TILE), _TILE // 8)
    difference = float((whole - tiled).abs().max())
    if difference > 1.0:
        return warned(
            f"tiles of {_TILE} pixels would show: the method looks at the whole image", difference
        )
    return passed(difference)


def check_colour(subject: MethodSubject) -> Outcome:
    """Every treatment of colour gives an image of the right kind."""
    ir, vis = make_pair(48, 64, colour=True)
    for colour in ("luma", "gray", "per_channel"):
        parameters = subject.parameters.model_copy(update={"colour": colour})
        (fused,) = fuse_images(
            subject.fuse, [ir], [vis], parameters, subject.device, subject.spec.channels
        )
        expected = vis.shape if colour != "gray" else vis.shape[:2]
        if fused.shape != expected:
            return failed(f"colour={colour} gives {fused.shape}", str(fused.shape), str(expected))
    return passed("the method's own" if subject.spec.channels == 3 else "luma, gray, per_channel")


def check_state(subject: MethodSubject) -> Outcome:
    """Global state of the process stays as it is."""
    changed = subject.before_loading.changes() if subject.before_loading else []
    when = "when it is loaded or called"
    if not changed:
        before = ProcessState.now()
        subject.fuse(subject.sources(make_pair(64, 64)))
        changed, when = before.changes(), "when it is called"
        before.restore()
    if changed:
        return failed(
            f"changes {', '.join(changed)} {when}; runs restore it, but other programs will not: "
            "draw random numbers from a generator of its own, such as torch.Generator()"
        )
    return passed()


def check_network(subject: MethodSubject) -> Outcome:
    """Nothing is requested from the network, which nodes may not have."""
    if subject.attempts:
        places = ", ".join(dict.fromkeys(subject.attempts))
        return failed("give weights with --weights, or put them into the package", places)
    return passed()


def check_speed(subject: MethodSubject) -> Outcome:
    """Time per megapixel."""
    height, width = (240, 320) if subject.quick else (1024, 1280)
    while not subject.affordable(2 * height, width):
        height, width = height // 2, width // 2
    sources = subject.sources(make_pair(height, width))
    started, calls = time.perf_counter(), 0
    while not calls or time.perf_counter() - started < _SHORTEST_S:
        subject.fuse(sources)
        calls += 1
    seconds = (time.perf_counter() - started) / calls / (height * width / 1e6)
    hours = seconds * _LLVIP_PAIRS * _LLVIP_MEGAPIXELS / 3600
    where = "GPU" if subject.device == "cuda" else "core"
    return Outcome(
        status="passed", value=round(seconds, 3), hint=f"s/Mpx: LLVIP on 1 {where} in {hours:.1f} h"
    )


def check_memory(subject: MethodSubject) -> Outcome:
    """Memory per megapixel, in addition to what loading takes."""
    size = (1024, 1280)
    if subject.quick or not subject.affordable(*size):
        return skipped("not checked with --quick, or because it would take too long")
    sources = subject.sources(make_pair(*size))
    with PeakMemory(subject.device) as memory:
        subject.fuse(sources)
    megabytes = memory.bytes / (size[0] * size[1])
    return Outcome(status="passed", value=round(megabytes), hint="MB/Mpx")


def check_expected(subject: MethodSubject) -> Outcome:
    """Fused images are those that were given."""
    if not subject.expected:
        return skipped("give --pairs and --expect to compare with your own program")
    fuse, means, largest = guard(subject.fuse), [], 0
    for (ir, vis), expected in zip(subject.pairs, subject.expected, strict=True):
        (fused,) = fuse_images(
            fuse, [ir], [vis], subject.parameters, subject.device, subject.spec.channels
        )
        if fused.ndim != expected.ndim:
            fused, expected = luma(fused), luma(expected)
        if fused.shape != expected.shape:
            return failed(f"expected images of {expected.shape}, but fused {fused.shape}")
        difference = np.abs(fused.astype(np.int16) - expected)
        means.append(float(difference.mean()))
        largest = max(largest, int(difference.max()))
    found = f"mean {min(means):.3f}..{max(means):.3f}, at most {largest}"
    pairs = f"{len(means)} pairs"
    if max(means) > subject.tolerance:
        worst = int(np.argmax(means)) + 1
        return failed(f"pair {worst} of {pairs} differs most", found, subject.tolerance)
    return Outcome(status="passed", value=found, limit=subject.tolerance, hint=pairs)


def check_model(subject: MethodSubject) -> Outcome:
    """What a model file expects is stated."""
    build = subject.spec.build
    if not isinstance(build, ModelBuild):
        return skipped("only for model files")
    if build.guessed:
        return warned(
            f"guessed or assumed: {'; '.join(build.guessed)}. State it in "
            f"{side_file_name(build.extension.name)}, next to the model"
        )
    return passed()


METHOD_CHECKS: dict[str, Check] = {
    "model": check_model,
    "parameters": check_parameters,
    "runs": check_runs,
    "sizes": _explained(check_sizes),
    "finite": _explained(check_finite),
    "not constant": _explained(check_not_constant),
    "range": _explained(check_range),
    "batch": _explained(check_batch),
    "deterministic": _explained(check_determinism),
    "order of sources": _explained(check_order),
    "tiling": _explained(check_tiling),
    "colour": _explained(check_colour),
    "global state": _explained(check_state),
    "network": check_network,
    "expected images": _explained(check_expected),
}
"""Checks of a method in the process that has loaded it, in their order."""
FRESH_METHOD_CHECKS: dict[str, Check] = {
    "memory": _explained(check_memory),
    "speed": _explained(check_speed),
}
"""Checks of a method in another process, to which it was sent as to a worker."""
