"""Data: datasets of arrays, batches, splits, MNIST's files."""

from tilegrad.data.dataset import (
    ArrayDataset,
    ConcatDataset,
    Dataset,
    IterableDataset,
    Subset,
    TensorDataset,
    random_split,
    train_test_split,
)
from tilegrad.data.idx import DataError, read_idx, read_mnist
from tilegrad.data.loader import DataLoader, default_collate

__all__ = [
    "ArrayDataset",
    "ConcatDataset",
    "DataError",
    "DataLoader",
    "Dataset",
    "IterableDataset",
    "Subset",
    "TensorDataset",
    "default_collate",
    "random_split",
    "read_idx",
    "read_mnist",
    "train_test_split",
]
