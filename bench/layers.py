"""Pooling and normalisation beside PyTorch: ``python bench/layers.py --threads 2``."""

from __future__ import annotations

import argparse
import sys

from tilegrad.bench import layers

if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=layers.__doc__)
    layers.add_arguments(parser)
    sys.exit(layers.run(parser.parse_args()))
