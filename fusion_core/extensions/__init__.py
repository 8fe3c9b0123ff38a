"""Methods and metrics of the user's own: named, loaded, shipped to workers, and adapted.

`README.md` in this folder explains how to write one.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
