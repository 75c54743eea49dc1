"""MNIST's file format: IDX, plain or gzipped.

A file is two zero bytes, a type (8: unsigned bytes), the number of axes, each axis' size as a
big-endian 32-bit integer, and the numbers in C order (http://yann.lecun.com/exdb/mnist).
"""

from __future__ import annotations

import gzip
import math
import struct
import zlib
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

Bytes = NDArray[np.uint8]

UNSIGNED_BYTES = 8

#: What each of MNIST's four files is called, with and without .gz; some copies say ".idx3".
STEMS = {
    "training images": "train-images",
    "training labels": "train-labels",
    "test images": "t10k-images",
    "test labels": "t10k-labels",
}


class DataFileError(ValueError):
    """A data file is missing or broken; the text is one line that says what was expected."""


def find(folder: Path, what: str) -> Path:
    """The file of ``folder`` that holds "training images", "test labels", ...

    Raises:
        DataFileError: there is none, or the folder does not exist.
    """
    kind = "idx3" if what.endswith("images") else "idx1"
    names = [f"{STEMS[what]}{dot}{kind}-ubyte{end}" for dot in "-." for end in ("", ".gz")]
    if not folder.is_dir():
        raise DataFileError(f"{folder} is not a folder; expected one that holds {names[0]}[.gz]")
    for name in names:
        if (folder / name).is_file():
            return folder / name
    raise DataFileError(f"{folder} has no {what}; expected a file {names[0]} or {names[1]}")


def read(path: Path, axes: int) -> Bytes:
    """The array of unsigned bytes in an IDX file, which must have ``axes`` axes.

    Raises:
        DataFileError: the file is not that, or ends early, or goes on too long.
    """
    wanted = f"an IDX file of unsigned bytes with {axes} ax{'is' if axes == 1 else 'es'}"
    try:
        raw = path.read_bytes()
        if path.suffix == ".gz":
            raw = gzip.decompress(raw)
    except (OSError, EOFError, zlib.error) as error:
        raise DataFileError(f"{path}: cannot be read ({error}); expected {wanted}") from error
    header = 4 + 4 * axes
    if len(raw) < header:
        raise DataFileError(f"{path}: only {len(raw)} bytes long; expected {wanted}")
    zeros, kind, ndim = struct.unpack(">HBB", raw[:4])
    if (zeros, kind, ndim) != (0, UNSIGNED_BYTES, axes):
        raise DataFileError(f"{path}: begins with bytes {raw[:4].hex(' ')}; expected {wanted}")
    shape = struct.unpack(f">{axes}I", raw[4:header])
    if len(raw) - header != math.prod(shape):
        raise DataFileError(
            f"{path}: holds {len(raw) - header} bytes of data; its header says "
            f"{' x '.join(map(str, shape))} = {math.prod(shape)}"
        )
    return np.frombuffer(raw, np.uint8, offset=header).reshape(shape)


def read_pair(folder: Path, part: str) -> tuple[Bytes, Bytes]:
    """The images (N, H, W) and labels (N,) of the "training" or "test" part.

    Raises:
        DataFileError: a file is missing or broken, or the two do not belong together.
    """
    image_file, label_file = find(folder, f"{part} images"), find(folder, f"{part} labels")
    images, labels = read(image_file, 3), read(label_file, 1)
    if len(images) != len(labels):
        raise DataFileError(
            f"{label_file}: holds {len(labels)} labels; "
            f"{image_file.name} holds {len(images)} images"
        )
    if not images.size:
        raise DataFileError(f"{image_file}: holds no pixels; expected images of digits")
    if labels.max() > 9:
        raise DataFileError(f"{label_file}: has the label {labels.max()}; expected digits 0 to 9")
    return images, labels
