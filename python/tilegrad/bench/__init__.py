"""Benchmarks behind ``tilegrad bench``; their peers (NumPy, PyTorch, JAX) are optional imports."""
