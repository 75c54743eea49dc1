"""Handwritten digits, scaled and split for training."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tilegrad.data import DataError, read_mnist

Array = NDArray[Any]

HELD_OUT = 0.2  # of scikit-learn's digits, which come without a test part


@dataclass(frozen=True)
class Digits:
    """Images (N, 1, H, W) in float32 with labels (N,), in two parts that share no image."""

    source: str
    train_images: Array
    train_labels: Array
    test_images: Array
    test_labels: Array


def scaled(images: Array, mean: float, deviation: float) -> Array:
    """Images (N, H, W) as (N, 1, H, W) in float32, shifted and scaled."""
    return ((images.astype(np.float32) - mean) / deviation)[:, None]


def digits(source: str, train: tuple[Array, Array], test: tuple[Array, Array]) -> Digits:
    """Scale both parts by mean and deviation of the pixels that may be learned from."""
    mean, deviation = float(train[0].mean()), float(train[0].std()) or 1.0
    return Digits(
        source,
        scaled(train[0], mean, deviation),
        train[1].astype(np.int64),
        scaled(test[0], mean, deviation),
        test[1].astype(np.int64),
    )


def from_scikit_learn(seed: int) -> Digits:
    """The 1,797 digits of 8 x 8 pixels in scikit-learn, a fifth of them held out."""
    from sklearn.datasets import load_digits

    bunch = load_digits()
    order = np.random.default_rng(seed).permutation(len(bunch.target))
    cut = round(HELD_OUT * len(order))
    test, train = order[:cut], order[cut:]
    return digits(
        "scikit-learn's digits",
        (bunch.images[train], bunch.target[train]),
        (bunch.images[test], bunch.target[test]),
    )


def from_folder(folder: Path) -> Digits:
    """MNIST's four files in a folder.

    Raises:
        FileNotFoundError: the folder or a file is missing.
        DataError: a file is broken, or the images are not of one size from 4 x 4 pixels on.
    """
    images, labels, test_images, test_labels = read_mnist(folder)
    if images.shape[1:] != test_images.shape[1:]:
        raise DataError(
            f"{folder}: training images of {images.shape[1:]} pixels and test images of "
            f"{test_images.shape[1:]}; expected one size"
        )
    if not (images.size and test_images.size) or min(images.shape[1:]) < 4:
        raise DataError(
            f"{folder}: images of shape {images.shape} and {test_images.shape}; expected some of "
            "each, of at least 4 x 4 pixels"
        )
    return digits(str(folder), (images, labels), (test_images, test_labels))
