"""Infrared and visible image fusion: methods, metrics and images, on arrays.

The two functions for one pair are `fuse` and `score`; whole collections are the work of `jobs`.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
