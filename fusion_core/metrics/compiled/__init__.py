"""What lets the metrics' inner loops run as machine code on the CPU.

A family of metrics keeps its loops in modules beside it: arrays in, arrays or sums out. They are
compiled at their first call and kept on disk (numba's cache: `NUMBA_CACHE_DIR`, else `__pycache__`
beside the module, else the user's cache folder), so no compiler is needed. They release the
interpreter lock and use one thread. The same formulas stand as tensor operations, for other
devices, in the modules that call the loops.
"""
