"""Compilation of inner loops, for the CPU and for CUDA.

The loops, the kernels, lie in modules next to the metrics and networks that they belong to: they
take arrays and return arrays or sums. Numba compiles them at their first call and keeps the result
on disk (in `NUMBA_CACHE_DIR`, or `__pycache__` next to the module, or the user's cache folder); no
compiler is needed. Kernels release the interpreter lock and use one thread. The modules that call
them have the same formulas as tensor operations, for other devices.

Modules whose names end in `_triton` have the most expensive ones of these as kernels for CUDA. They
are used where `trial.try_kernel` finds that they run and agree with the tensor operations.
"""
