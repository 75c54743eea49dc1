"""Training steps beside PyTorch and JAX: the same as ``tilegrad bench train``."""

from tilegrad.bench.train import main

if __name__ == "__main__":
    raise SystemExit(main())
