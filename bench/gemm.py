"""Matrix products beside NumPy, PyTorch and JAX: the same as ``tilegrad bench gemm``."""

from tilegrad.bench.gemm import main

if __name__ == "__main__":
    raise SystemExit(main())
