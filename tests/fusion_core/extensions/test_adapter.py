from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import irfuse
from fusion_core.errors import ContractError, InvalidValueError
from fusion_core.extensions.adapter import adapt, in_tiles, reflect
from fusion_core.extensions.defining import Adaptation
from fusion_core.methods import MethodSpec, build_method, fuse_images
from fusion_core.parameters import MethodParameters

CPU = torch.device("cpu")


def noise(*shape: int, seed: int = 0) -> Tensor:
    return torch.rand(shape, generator=torch.Generator().manual_seed(seed)) * 255


def mean(sources: Tensor) -> Tensor:
    return sources.mean(dim=0)


@pytest.mark.parametrize("size", [(1, 1), (3, 5), (64, 64), (65, 97)])
def test_a_network_sees_multiples_and_the_result_has_the_size_of_the_sources(
    size: tuple[int, int],
) -> None:
    seen = []

    def fuse(sources: Tensor) -> Tensor:
        seen.append(sources.shape[-2:])
        return mean(sources)

    sources = noise(2, 3, 1, *size)
    found = adapt(fuse, Adaptation(pad_multiple=16))(sources)
    assert torch.equal(found, mean(sources))
    assert all(side % 16 == 0 for side in seen[0])


@pytest.mark.parametrize("length", [1, 2, 3, 7])
def test_reflection_is_that_of_numpy(length: int) -> None:
    image = noise(length, length + 1)
    expected = np.pad(image.numpy(), ((0, 40 - length), (0, 30 - length - 1)), mode="reflect")
    assert np.array_equal(reflect(image, 40, 30).numpy(), expected)


@pytest.mark.parametrize("size", [(5, 7), (32, 48), (33, 49), (100, 201)])
@pytest.mark.parametrize("overlap", [0, 8, 31])
def test_tiles_have_the_fixed_size_and_are_blended_without_a_seam(
    size: tuple[int, int], overlap: int
) -> None:
    def fuse(sources: Tensor) -> Tensor:
        assert sources.shape[-2:] == (32, 48)
        return mean(sources)

    sources = noise(2, 2, 1, *size)
    found = adapt(fuse, Adaptation(fixed_size=(32, 48), overlap=overlap))(sources)
    assert torch.allclose(found, mean(sources), atol=1e-4)


def test_tiles_that_disagree_are_blended_gradually() -> None:
    calls = iter(range(100))

    def fuse(sources: Tensor) -> Tensor:
        return torch.full(sources.shape[1:], float(next(calls)))

    found = in_tiles(fuse, noise(2, 1, 1, 16, 28), (16, 16), 4)
    assert found[0, 0, 0].diff().abs().max() <= 0.25
    assert found[0, 0, 0, 0] == 0
    assert found[0, 0, 0, -1] == 1


@pytest.mark.parametrize("values", [(0.0, 1.0), (-1.0, 1.0), (0.0, 65535.0)])
def test_ranges_are_those_that_the_method_states(values: tuple[float, float]) -> None:
    seen = []

    def fuse(sources: Tensor) -> Tensor:
        seen.append(sources)
        return sources[0]

    sources = torch.tensor([0.0, 51.0, 255.0]).view(1, 1, 1, 1, 3).expand(2, 1, 1, 1, 3)
    found = adapt(fuse, Adaptation(values, values))(sources)
    low, high = values
    expected = torch.tensor([low, low + (high - low) / 5, high])
    assert torch.allclose(seen[0][0].flatten(), expected)
    assert torch.allclose(found, sources[0], atol=1e-3)


def test_a_module_is_called_with_eval_on_and_without_gradients() -> None:
    class Network(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.norm = nn.BatchNorm2d(1)

        def forward(self, sources: Tensor) -> Tensor:
            return self.norm(sources[1])

    network = Network().train()
    found = adapt(network, Adaptation())(noise(2, 2, 1, 8, 8))
    assert not network.training
    assert not found.requires_grad


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float64"])
def test_sources_have_the_type_that_the_method_states(dtype: str) -> None:
    def fuse(sources: Tensor) -> Tensor:
        assert sources.dtype == getattr(torch, dtype)
        return mean(sources)

    found = adapt(fuse, Adaptation((0, 1), (0, 1), dtype=dtype))(noise(2, 1, 1, 4, 4))
    assert found.dtype == torch.float32


@pytest.mark.parametrize(
    ("result", "message"),
    [
        (
            torch.zeros(1, 1, 4, 5),
            r"shape \(1, 1, 4, 5\), but its sources require \(1, 1, 4, 4\)",
        ),
        (torch.full((1, 1, 4, 4), torch.nan), "NaN or infinite values in 16 of 16 pixels"),
        (torch.zeros(1, 1, 4, 4, dtype=torch.complex64), "array or tensor of numbers"),
        (None, "array or tensor of numbers"),
        (np.array([["a"]]), "array or tensor of numbers"),
    ],
)
def test_what_is_no_fused_image_is_named_with_what_was_wanted(result: object, message: str) -> None:
    with pytest.raises(ContractError, match=message):
        adapt(lambda sources: result, Adaptation())(noise(2, 1, 1, 4, 4))


@pytest.mark.parametrize("dtype", [np.uint8, np.int64, np.float16, np.float64, bool])
def test_a_function_of_arrays_may_return_any_numbers(dtype: type) -> None:
    @irfuse.method()
    def fuse(ir: Any, vis: Any) -> Any:
        assert (ir.dtype, ir.shape, vis.flags.c_contiguous) == (np.float32, (4, 6), True)
        return (ir > vis).astype(dtype)

    found = build_method(fuse, MethodParameters(), None)(noise(2, 3, 1, 4, 6))
    assert found.shape == (3, 1, 4, 6)
    assert set(found.unique().tolist()) == {0.0, 1.0}


def test_a_method_of_three_channels_treats_colour_itself() -> None:
    @irfuse.method(channels=3, input_range=(0, 1))
    def swapped(ir: Any, vis: Any) -> Any:
        assert ir.shape == vis.shape == (5, 7, 3)
        assert (ir[..., 0] == ir[..., 2]).all()
        return vis[..., ::-1]

    rng = np.random.default_rng(0)
    ir, vis = (rng.integers(0, 256, shape, dtype=np.uint8) for shape in ((5, 7), (5, 7, 3)))

    def fused(vis: np.ndarray, **given: str) -> np.ndarray:
        parameters = swapped.parameters.parse(given)
        fuse_batch = build_method(swapped, parameters, None)
        return fuse_images(fuse_batch, [ir], [vis], parameters, channels=swapped.channels)[0]

    assert np.array_equal(fused(vis), vis[..., ::-1])
    assert fused(vis, colour="gray").shape == (5, 7)
    assert np.array_equal(fused(vis[..., 0]), vis[..., 0])


def test_minmax_is_the_default_of_a_result_without_a_range() -> None:
    @irfuse.method(output_range="minmax")
    def fuse(ir: Any, vis: Any) -> Any:
        return ir + vis

    assert fuse.parameters().output_range == "minmax"
    described = {parameter.name: parameter for parameter in fuse.parameters.describe()}
    assert "8 bits" in described["output_range"].meaning


def test_keyword_arguments_are_parameters() -> None:
    @irfuse.method(title="Weighted")
    def fuse(ir: Any, vis: Any, *, weight: float, steps: int = 3) -> Any:
        return weight * ir + steps * vis

    with pytest.raises(InvalidValueError, match="weight: Field required"):
        fuse.parameters.parse({})
    with pytest.raises(InvalidValueError, match="steps: Input should be a valid integer"):
        fuse.parameters.parse({"weight": 1, "steps": "many"})
    parameters = fuse.parameters.parse({"weight": "0.5"})
    found = build_method(fuse, parameters, None)(torch.ones(2, 1, 1, 2, 2))
    assert found.unique().tolist() == [3.5]


def test_a_builder_gets_parameters_weights_and_device() -> None:
    given = []

    class Parameters(MethodParameters):
        strength: float = 2.0

    @irfuse.method(parameters=Parameters, paper="Tang et al. 2022", batch=False)
    def build(parameters: Any, weights: Any, device: Any) -> Any:
        """Strong mean."""
        given.append((parameters.strength, weights, device))
        return lambda sources: sources.mean(dim=0) * parameters.strength

    assert isinstance(build, MethodSpec)
    assert (build.title, build.paper and build.paper.year) == ("Strong mean", 2022)
    found = build_method(build, Parameters(), None)(torch.ones(2, 4, 1, 2, 2))
    assert given == [(2.0, None, CPU)]
    assert found.unique().tolist() == [2.0]


def test_a_builder_may_fuse_any_number_of_sources() -> None:
    @irfuse.method(most_sources=None)
    def build(parameters: Any, weights: Any, device: Any) -> Any:
        return lambda sources: sources.mean(dim=0)

    assert build.most_sources is None
    fuse_batch = build_method(build, MethodParameters(), None)
    assert fuse_batch(torch.arange(3.0).view(3, 1, 1, 1, 1)).item() == 1.0


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"input_range": (1, 0)}, "black < white"),
        ({"pad_multiple": 0}, "at least 1"),
        ({"pad_multiple": 8, "fixed_size": (8, 8)}, "but got both"),
        ({"fixed_size": (8, 8), "overlap": 8}, "from 0 to less than 8"),
        ({"channels": 2}, "1 or 3 channels"),
    ],
)
def test_settings_that_contradict_each_other_are_refused(
    settings: dict[str, object], message: str
) -> None:
    with pytest.raises(InvalidValueError, match=message):
        irfuse.method(**settings)


def test_a_function_with_other_arguments_is_refused_when_it_is_defined() -> None:
    with pytest.raises(InvalidValueError, match=r"but got one of \(a, b\)"):
        irfuse.method()(lambda a, b: a)
    with pytest.raises(InvalidValueError, match="All methods have the parameter 'colour'"):
        irfuse.method()(lambda ir, vis, colour=1: ir)
