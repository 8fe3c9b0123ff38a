"""Names of the stages at which a pair can fail."""

from __future__ import annotations

from typing import Literal, get_args

Stage = Literal["read", "decode", "check", "fuse", "score", "encode", "crash"]
STAGES: tuple[Stage, ...] = get_args(Stage)
