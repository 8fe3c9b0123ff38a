"""The fusion methods: one module each, described in the registry `METHODS`.

`README.md` in this folder lists the methods and explains how to add one.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
