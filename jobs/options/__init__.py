"""Options of the jobs: one frozen model per job.

The command line is derived from them: docstrings are the help of commands and options.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
