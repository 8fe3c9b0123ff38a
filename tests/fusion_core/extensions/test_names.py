import pytest

from fusion_core.errors import InvalidValueError
from fusion_core.extensions.names import Target, parse_target


@pytest.mark.parametrize(
    ("text", "target", "name"),
    [
        ("mine", Target("entry_point", "mine"), "mine"),
        ("a.b:fuse", Target("module", "a.b", "fuse"), "a.b:fuse"),
        ("/x/fuse.py:fuse", Target("file", "/x/fuse.py", "fuse"), "fuse.py:fuse"),
        ("../m/net.onnx", Target("onnx", "../m/net.onnx"), "net.onnx"),
        ("net.pt2", Target("torch_export", "net.pt2"), "net.pt2"),
        ("net.pt", Target("torchscript", "net.pt"), "net.pt"),
    ],
)
def test_a_name_says_where_the_code_is(text: str, target: Target, name: str) -> None:
    assert parse_target(text) == target
    assert target.name == name


@pytest.mark.parametrize("text", ["fuse.py", "fuse.py:", "fuse.py:a.b", "a b:fuse", "x.txt:fuse-2"])
def test_other_forms_are_refused_with_an_example(text: str) -> None:
    with pytest.raises(InvalidValueError, match=r"^Expected .*, but got "):
        parse_target(text)
