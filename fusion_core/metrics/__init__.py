"""The quality metrics of fused images.

Each metric is a function of three images, such as `edges.qabf.qabf`; `METRICS` describes all of
them under the names of their columns, and `scoring` computes several at once.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
