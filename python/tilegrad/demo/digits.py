"""Handwritten digits, scaled and split for training."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tilegrad.demo import idx

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


def digits(
    source: str, train: tuple[Array, Array], test: tuple[Array, Array]
) -> Digits:
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
        DataFileError: one is missing or broken, or the two parts differ in image size.
    """
    train, test = idx.read_pair(folder, "training"), idx.read_pair(folder, "test")
    if train[0].shape[1:] != test[0].shape[1:]:
        raise idx.DataFileError(
            f"{folder}: training images are {train[0].shape[1:]} and test images "
            f"{test[0].shape[1:]} pixels large; expected one size"
        )
    if min(train[0].shape[1:]) < 4:
        raise idx.DataFileError(
            f"{folder}: images are {train[0].shape[1:]} pixels large; expected at least 4 x 4"
        )
    return digits(str(folder), train, test)
