"""Convolution beside PyTorch: ``python bench/conv.py --batch 1 32 --threads 2``."""

from __future__ import annotations

import argparse
import sys

from tilegrad.bench import conv

if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=conv.__doc__)
    conv.add_arguments(parser)
    sys.exit(conv.run(parser.parse_args()))
