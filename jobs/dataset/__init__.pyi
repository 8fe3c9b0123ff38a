from .pairs import FusedPairs as FusedPairs
from .stream import FusedStream as FusedStream
