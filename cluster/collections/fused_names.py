"""Names of fused images that follow from those of their sources."""

from __future__ import annotations

import posixpath
from collections.abc import Iterable, Sequence
from functools import lru_cache

from cluster.collections.layouts.words import folder_meaning
from cluster.collections.manifest_reader import PairRow
from cluster.collections.names import fold, is_neutral_folder


def own_name(pair: PairRow) -> str:
    """Return the name of a pair without folders: that of both sources, or the end of its id.

    >>> own_name(PairRow("train/01", "ir/train/01.png", "vis/train/01.jpg", "train"))
    '01'
    >>> own_name(PairRow("FLIR_2", "FLIR_2_PreviewData.jpeg", "FLIR_2_RGB.jpg", ""))
    'FLIR_2'
    """
    ir, vis = (_stem(uri) for uri in (pair.ir_uri, pair.vis_uri))
    return vis if fold(ir) == fold(vis) else posixpath.basename(pair.pair_id)


def mirrored_name(pair: PairRow, root: str, word: str = "fused") -> str:
    """Return the path of the visible image with `fused` in place of its modality, no extension.

    Where no folder denotes the modality, `fused` takes the place of a folder such as `images` that
    holds the image itself, or stands in front.

    Args:
        pair: The pair.
        root: Location below which both images are, for example the folder of the collection.
        word: Another word in place of the modality.

    >>> mirrored_name(PairRow("a/01", "/d/a/lwir/01.jpg", "/d/a/visible/01.jpg", "a"), "/d")
    'a/fused/01'
    >>> mirrored_name(PairRow("1", "/d/IR1.png", "/d/VIS1.png", ""), "/d")
    'fused/1'
    """
    ir, vis = (posixpath.dirname(below(uri, root)) for uri in (pair.ir_uri, pair.vis_uri))
    return f"{_fused_folder(ir, vis, word)}/{own_name(pair)}"


def below(uri: str, root: str) -> str:
    """Return the path of a location below another one, or else its whole path."""
    if root and uri.startswith(f"{root}/"):
        return uri[len(root) + 1 :]
    return uri.rpartition("://")[2].lstrip("/")


def common_folder(uris: Iterable[str]) -> str:
    """Return the deepest folder that contains all locations; empty if there is none.

    >>> common_folder(["s3://b/x/ir/1.png", "s3://b/x/vis/1.png"])
    's3://b/x'
    """
    common: list[str] | None = None
    for folder in {uri.rpartition("/")[0] for uri in uris}:
        parts = folder.split("/")
        if common is None:
            common = parts
            continue
        pairs = zip(common, parts, strict=False)
        equal = next((n for n, (a, b) in enumerate(pairs) if a != b), min(len(common), len(parts)))
        common = common[:equal]
    return "/".join(common or [])


@lru_cache(maxsize=4096)
def _fused_folder(ir_folder: str, vis_folder: str, word: str) -> str:
    """Return the folder of the fused image, from the folders of the sources."""
    ir, vis = ([part for part in folder.split("/") if part] for folder in (ir_folder, vis_folder))
    return "/".join(_fused_parts(ir, vis, word))


def _fused_parts(ir: Sequence[str], vis: Sequence[str], word: str) -> list[str]:
    differing = [n for n, part in enumerate(vis) if n >= len(ir) or fold(part) != fold(ir[n])]
    meanings = {n: folder_meaning(vis[n]) for n in differing}
    named = [n for n, (modality, _) in meanings.items() if modality == "vis"]
    if named or (differing and len(ir) == len(vis)):
        depth = (named or differing)[-1]
        base = meanings[depth][1] if named else ""
        return [*vis[:depth], f"{base}_{word}" if base else word, *vis[depth + 1 :]]
    if vis and is_neutral_folder(vis[-1]):
        return [*vis[:-1], word]
    return [word, *vis]


def _stem(path: str) -> str:
    return posixpath.splitext(posixpath.basename(path))[0]
