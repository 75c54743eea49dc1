"""MNIST's IDX files: big-endian headers, then unsigned bytes.

The format is described at http://yann.lecun.com/exdb/mnist/: two zero bytes, a type code (8 for
unsigned bytes), the number of axes, one 32-bit size per axis, the entries.
"""

from __future__ import annotations

import gzip
import math
import struct
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

#: Type codes of the format and their dtypes.
DTYPES: dict[int, np.dtype[Any]] = {
    0x08: np.dtype(">u1"), 0x09: np.dtype(">i1"), 0x0B: np.dtype(">i2"), 0x0C: np.dtype(">i4"),
    0x0D: np.dtype(">f4"), 0x0E: np.dtype(">f8"),
}  # fmt: skip

Array = np.ndarray[Any, Any]


class DataError(ValueError):
    """A data file is missing or is not what was expected."""


def read_idx(
    path: str | Path, ndim: int | None = None, dtype: npt.DTypeLike | None = None
) -> Array:
    """The array in one IDX file, gzipped or not.

    Args:
        path: the file.
        ndim: how many axes it must have; None for any number.
        dtype: which dtype its entries must have; None for any.

    Raises:
        FileNotFoundError: there is no such file.
        DataError: the file is truncated, too long, or no IDX file of such axes and entries.
    """
    path = Path(path)
    try:
        data = path.read_bytes()
        if data[:2] == b"\x1f\x8b":
            data = gzip.decompress(data)
    except FileNotFoundError:
        raise FileNotFoundError(f"{path}: no such file; expected an IDX file") from None
    except (OSError, EOFError, zlib.error) as error:
        raise DataError(f"{path}: cannot be read as an IDX file: {error}") from None
    if len(data) < 4:
        raise DataError(f"{path}: {len(data)} bytes; expected an IDX header of at least 4")
    zero, code, axes = struct.unpack_from(">HBB", data)
    if zero != 0 or code not in DTYPES:
        raise DataError(
            f"{path}: starts with {data[:4].hex()}; expected the magic number of an IDX file, "
            f"{'0000080' + str(ndim) if ndim else '000008..'}"
        )
    if ndim is not None and axes != ndim:
        raise DataError(f"{path}: an IDX file of {axes} axes; expected {ndim}")
    entry = DTYPES[code]
    if dtype is not None and entry.newbyteorder("=") != np.dtype(dtype):
        raise DataError(
            f"{path}: entries of {entry.name} (type code {code:#04x}); expected {np.dtype(dtype)}"
        )
    start = 4 + 4 * axes
    if len(data) < start:
        raise DataError(f"{path}: {len(data)} bytes; expected a header of {start}")
    shape = struct.unpack_from(f">{axes}I", data, 4)
    wanted = start + math.prod(shape) * entry.itemsize
    if len(data) != wanted:
        raise DataError(
            f"{path}: {len(data)} bytes; expected {wanted} for entries of shape {shape}"
        )
    array = np.frombuffer(data, entry, offset=start).reshape(shape)
    return array.astype(entry.newbyteorder("="))


def _find(folder: Path, stem: str) -> Path:
    """The file of one of the names it is known by."""
    for name in (stem, stem.replace("-idx", ".idx")):
        for suffix in ("", ".gz"):
            if (folder / (name + suffix)).is_file():
                return folder / (name + suffix)
    raise FileNotFoundError(f"{folder / stem}: no such file; expected MNIST's {stem} or {stem}.gz")


def read_mnist(folder: str | Path) -> tuple[Array, Array, Array, Array]:
    """MNIST from a folder of its four files, gzipped or not.

    Returns:
        Training images (N, 28, 28) and labels (N,), test images and labels; all uint8.

    Raises:
        FileNotFoundError: the folder or a file is missing.
        DataError: a file is broken, or images and labels do not belong together.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise FileNotFoundError(
            f"{folder}: no such folder; expected one with MNIST's files, train-images-idx3-ubyte "
            "and so on"
        )
    parts = []
    for part in ("train", "t10k"):
        images_path = _find(folder, f"{part}-images-idx3-ubyte")
        labels_path = _find(folder, f"{part}-labels-idx1-ubyte")
        images, labels = read_idx(images_path, 3, "u1"), read_idx(labels_path, 1, "u1")
        if len(images) != len(labels):
            raise DataError(
                f"{labels_path}: {len(labels)} labels; expected {len(images)}, one per image of "
                f"{images_path.name}"
            )
        if labels.size and labels.max() > 9:
            raise DataError(f"{labels_path}: label {labels.max()}; expected digits from 0 to 9")
        parts += [images, labels]
    return tuple(parts)  # type: ignore[return-value]
