"""State dicts in files: ``.npz`` without pickle, ``.safetensors`` with its package.

A file is written beside its place and moved there when it is whole, so a broken write leaves what
was there before.
"""

from __future__ import annotations

import json
import os
import tempfile
import zipfile
import zlib
from collections import OrderedDict
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import IO, Any

import numpy as np

from tilegrad.autograd.tensor import Tensor

#: Under this key the structure of nested states stands in an ``.npz`` file.
STRUCTURE = "__structure__"

#: What zipfile, zlib, NumPy and the reading of the structure raise for bytes that make no sense.
BROKEN = (
    ValueError, TypeError, LookupError, AttributeError, EOFError, OSError, RuntimeError,
    OverflowError, MemoryError, SyntaxError, zipfile.BadZipFile, zlib.error,
)  # fmt: skip


def _path(op: str, f: Any) -> Path:
    try:
        return Path(f)
    except TypeError:
        order = "save(state, path)" if op == "save" else "load(path)"
        raise TypeError(
            f"{op}: the path of a file must be a string or a path, got {type(f).__name__}; "
            f"the order is {order}"
        ) from None


def _is_array(value: Any) -> bool:
    return isinstance(value, (Tensor, np.ndarray, np.generic))


def _array(value: Any) -> np.ndarray[Any, Any]:
    array = value._array if isinstance(value, Tensor) else np.asarray(value)
    if array.dtype.kind not in "fiub":
        raise TypeError(f"save: arrays of dtype {array.dtype} cannot be saved")
    return array


class _Plan:
    """A nested state as plain JSON and arrays, numbered or, in a flat dict, by name."""

    def __init__(self, flat: bool) -> None:
        self.flat = flat
        self.arrays: dict[str, np.ndarray[Any, Any]] = {}

    def pack(self, value: Any, path: str) -> Any:
        """``value`` as JSON; arrays go to :attr:`arrays` under ``path``."""
        if _is_array(value):
            key = path if self.flat else f"a{len(self.arrays)}"
            self.arrays[key] = _array(value)
            return {"array": key, "tensor": isinstance(value, Tensor)}
        if value is None or isinstance(value, (bool, int, float, str)):
            return {"value": value}
        if isinstance(value, Mapping):
            items = []
            for key, entry in value.items():
                if not isinstance(key, (str, int)) or isinstance(key, bool):
                    raise TypeError(f"save: {key!r} at {path!r}: keys must be strings or integers")
                below = f"{path}/{key}" if path else str(key)
                items.append([key, self.pack(entry, below)])
            return {"dict": items}
        if isinstance(value, (list, tuple)):
            entries = [self.pack(v, f"{path}/{i}") for i, v in enumerate(value)]
            return {"tuple" if isinstance(value, tuple) else "list": entries}
        raise TypeError(
            f"save: {type(value).__name__} at {path!r} cannot be saved; states are made of "
            "tensors, arrays, numbers, strings, lists, tuples and dicts"
        )


def _unpack(plan: Any, arrays: Mapping[str, Any]) -> Any:
    if "array" in plan:
        array = arrays[plan["array"]]
        return Tensor(array) if plan["tensor"] else array
    if "value" in plan:
        return plan["value"]
    if "dict" in plan:
        return OrderedDict((key, _unpack(entry, arrays)) for key, entry in plan["dict"])
    if "tuple" in plan:
        return tuple(_unpack(entry, arrays) for entry in plan["tuple"])
    return [_unpack(entry, arrays) for entry in plan["list"]]


def _write(path: Path, write: Callable[[Path], None]) -> None:
    """Write a file beside ``path`` and move it there; errors name ``path``."""
    if not path.parent.is_dir():
        raise FileNotFoundError(f"save: {path}: there is no folder {path.parent}")
    if path.is_dir():
        raise IsADirectoryError(f"save: {path} is a folder; expected the name of a file")
    beside = None
    try:
        handle, name = tempfile.mkstemp(f"{path.suffix}", f".{path.name}.", path.parent)
        os.close(handle)
        beside = Path(name)
        write(beside)
        # mkstemp's files are private; a new file has the rights that the umask leaves
        mask = os.umask(0)
        os.umask(mask)
        beside.chmod(0o666 & ~mask)
        os.replace(beside, path)
    except BaseException as error:
        if beside is not None:
            beside.unlink(missing_ok=True)
        if isinstance(error, OSError):
            raise type(error)(error.errno, f"save: {error.strerror}", str(path)) from None
        raise


def _names_an_entry(key: Any) -> bool:
    """Whether a zip file keeps ``key`` as it is, and it is not ours."""
    return isinstance(key, str) and key.isprintable() and "\\" not in key and key != STRUCTURE


def _write_npz(path: Path, arrays: Mapping[str, np.ndarray[Any, Any]]) -> None:
    """As ``np.savez``, which refuses some names, with the same bytes every time."""
    with zipfile.ZipFile(path, "w") as archive:
        for name, array in arrays.items():
            with archive.open(zipfile.ZipInfo(f"{name}.npy"), "w", force_zip64=True) as stream:
                np.lib.format.write_array(stream, array, allow_pickle=False)


def _read_npz(file: IO[bytes]) -> dict[str, np.ndarray[Any, Any]]:
    """The arrays by name; raises one of ``BROKEN``."""
    arrays = {}
    with zipfile.ZipFile(file) as archive:
        for entry in archive.infolist():
            name = entry.filename.removesuffix(".npy")
            with archive.open(entry) as stream:
                if np.lib.format.read_magic(stream) and entry.filename == name:
                    raise ValueError(f"its entry {name!r} does not end in .npy")
            with archive.open(entry) as stream:
                try:
                    arrays[name] = np.lib.format.read_array(stream, allow_pickle=False)
                except ValueError as error:
                    objects = "Object arrays" in str(error)
                    kind = "Python objects, not numbers" if objects else f"no array ({error})"
                    raise ValueError(f"its entry {name!r} holds {kind}") from None
    return arrays


def save(obj: Any, f: str | os.PathLike[str]) -> None:
    """Write a state dict, or any nesting of dicts, lists, numbers and tensors.

    Args:
        obj: what ``state_dict()`` of modules and optimizers gives.
        f: where to; the ending says how: ``.npz`` (also for any other ending but the next), or
            ``.safetensors`` for a flat dict of tensors (asks for the package ``safetensors``).

    Raises:
        TypeError: something in ``obj`` cannot be saved.
        OSError: the file cannot be written (FileNotFoundError: there is no such folder); what was
            there stays.

    >>> import tempfile, tilegrad as tg
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     tg.save({"w": tg.ones(2)}, folder + "/state.npz")
    ...     tg.load(folder + "/state.npz")["w"].numpy()
    array([1., 1.], dtype=float32)
    """
    path = _path("save", f)
    if path.suffix == ".safetensors":
        _save_safetensors(obj, path)
        return
    flat = isinstance(obj, Mapping) and all(
        _names_an_entry(key) and _is_array(value) for key, value in obj.items()
    )
    plan = _Plan(flat)
    structure = json.dumps(plan.pack(obj, ""))
    # the structure travels as bytes, so that no pickle is needed
    entries = {**plan.arrays, STRUCTURE: np.frombuffer(structure.encode(), np.uint8)}
    _write(path, lambda beside: _write_npz(beside, entries))


def load(f: str | os.PathLike[str], map_location: Any = None, weights_only: bool = True) -> Any:
    """Read what :func:`save` wrote, or any ``.npz`` or ``.safetensors`` file of arrays.

    Args:
        f: the file.
        map_location, weights_only: accepted for torch's sake: everything is on the CPU, and nothing
            but weights is ever read.

    Returns:
        What was saved; arrays of files by others become tensors, by name.

    Raises:
        FileNotFoundError: there is no such file.
        IsADirectoryError: it is a folder.
        ValueError: the file is broken or of another kind.
    """
    path = _path("load", f)
    expected = "expected a .npz or .safetensors file"
    if path.is_dir():
        raise IsADirectoryError(f"load: {path} is a folder; {expected}")
    if not path.is_file():
        raise FileNotFoundError(f"load: {path}: no such file; {expected}")
    if path.suffix == ".safetensors":
        return _load_safetensors(path)
    with path.open("rb") as file:
        try:
            arrays = _read_npz(file)
            text = arrays.pop(STRUCTURE, None)
            if text is None:
                return OrderedDict((name, Tensor(array)) for name, array in arrays.items())
            return _unpack(json.loads(text.tobytes()), arrays)
        except BROKEN as error:
            raise ValueError(
                f"load: {path}: not a whole .npz file of arrays ({error}); was it cut short, or "
                "written by another program?"
            ) from None


def _safetensors() -> Any:
    try:
        import safetensors.numpy
    except ImportError:
        raise ImportError(
            ".safetensors files need the package safetensors: pip install 'tilegrad[safetensors]'"
        ) from None
    return safetensors.numpy


def _save_safetensors(obj: Any, path: Path) -> None:
    if not isinstance(obj, Mapping) or not all(
        isinstance(key, str) and _is_array(value) for key, value in obj.items()
    ):
        raise TypeError(
            "save: a .safetensors file holds a flat dict of names and tensors; use .npz for more"
        )
    library = _safetensors()
    arrays = {key: np.asarray(_array(value), order="C") for key, value in obj.items()}
    _write(path, lambda beside: library.save_file(arrays, str(beside)))


def _load_safetensors(path: Path) -> Any:
    library = _safetensors()
    try:
        arrays = library.load_file(str(path))
    except Exception as error:
        raise ValueError(f"load: {path}: not a whole .safetensors file ({error})") from None
    return OrderedDict((name, Tensor(array)) for name, array in arrays.items())


__all__ = ["load", "save"]
