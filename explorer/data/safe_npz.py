"""Reading a data file from outside without executing anything in it."""

from __future__ import annotations

import io
import pickle
import zipfile
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.lib import format as npy

# A file of this kind unpacks to some 50 MB; a hundredfold bomb is refused before it is unpacked.
MAX_UNPACKED = 1 << 30


class UnsafeFile(ValueError):
    """The file holds something else than numbers, lists and arrays."""


class _NumbersOnly(pickle.Unpickler):
    """An unpickler that admits numbers, lists and arrays, nothing else."""

    # numpy renamed its inner module between versions 1 and 2; files of both are about.
    _ADMITTED = {
        (module, name)
        for module in ("numpy.core.multiarray", "numpy._core.multiarray", "numpy")
        for name in ("_reconstruct", "scalar", "ndarray", "dtype")
    }

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) not in self._ADMITTED:
            raise UnsafeFile(f"it asks for {module}.{name}, and only numbers, lists and arrays are admitted")
        if name == "ndarray":
            return np.ndarray
        if name == "dtype":
            return np.dtype
        return getattr(np._core.multiarray, name)

    def persistent_load(self, pid: Any) -> Any:
        raise UnsafeFile("it refers to objects outside the file")


def read_npz(path: Path, names: tuple[str, ...]) -> dict[str, np.ndarray]:
    """Arrays of an `.npz` file; object arrays pass an unpickler that can build only numbers, lists, arrays.

    Args:
        path: the file.
        names: the arrays wanted, without `.npy`.

    Returns:
        Name → array, as stored.

    Raises:
        UnsafeFile: it holds anything that could be executed, or unpacks to more than 1 GB.
        ValueError, OSError: it is no such file, is cut short, or lacks an array.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            found = {}
            for name in names:
                try:
                    member = archive.getinfo(f"{name}.npy")
                except KeyError:
                    raise ValueError(f"it has no array named {name}") from None
                if member.file_size > MAX_UNPACKED:
                    raise UnsafeFile(f"{name} would unpack to {member.file_size:,} bytes")
                # One read to the end, so that zipfile compares the member's checksum.
                found[name] = _read_array(io.BytesIO(archive.read(member)))
            return found
    except (zipfile.BadZipFile, EOFError, pickle.UnpicklingError, zipfile.LargeZipFile) as error:
        raise ValueError(f"it is cut short or damaged ({error})") from error
    except (ValueError, OSError):
        raise
    except Exception as error:  # a hostile stream can fail anywhere inside the decoders
        raise ValueError(f"it is damaged ({type(error).__name__})") from error


def _read_array(stream: BinaryIO) -> np.ndarray:
    version = npy.read_magic(stream)
    read_header = npy.read_array_header_1_0 if version == (1, 0) else npy.read_array_header_2_0
    shape, _, dtype = read_header(stream)
    if not dtype.hasobject:
        stream.seek(0)
        return npy.read_array(stream, allow_pickle=False)
    array = _NumbersOnly(stream).load()
    if not isinstance(array, np.ndarray) or array.shape != shape:
        raise ValueError("its header and its content disagree")
    return array
