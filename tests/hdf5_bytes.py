"""HDF5 files as EMAN2, Berkeley's programs and Velox lay them out, written by h5py."""

import json
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray


def eman2(path: Path, images: NDArray[Any], apix: float = 0.0, **options: Any) -> Path:
    """(n, y, x) images or (n, z, y, x) volumes, each in a data set of its own."""
    with h5py.File(path, "w") as file:
        group = file.create_group("MDF/images")
        group.attrs["imageid_max"] = len(images) - 1
        for number, image in enumerate(images):
            entry = group.create_group(str(number))
            entry.create_dataset("image", data=image, **options)
            entry.attrs["EMAN.apix_x"] = np.float32(apix)
    return path


def berkeley(path: Path, voxels: NDArray[Any], step_nm: float = 0.5, **options: Any) -> Path:
    """(..., y, x) voxels with the positions along each dimension."""
    with h5py.File(path, "w") as file:
        file.attrs["version_major"], file.attrs["version_minor"] = 0, 2
        group = file.create_group("data/stack")
        group.attrs["emd_group_type"] = 1
        group.create_dataset("data", data=voxels, **options)
        for number, length in enumerate(voxels.shape):
            positions = group.create_dataset(f"dim{number + 1}", data=np.arange(length) * step_nm)
            positions.attrs["name"], positions.attrs["units"] = "tzyx"[number - voxels.ndim], "[n_m]"
    return path


def velox(path: Path, images: NDArray[Any], name: str = "0a1b", pixel_m: float = 2e-10, **options: Any) -> Path:
    """(n, y, x) images, which Velox keeps as (y, x, n); more than one call adds to the file."""
    metadata = {
        "BinaryResult": {"PixelSize": {"width": str(pixel_m), "height": str(pixel_m)}, "PixelUnitX": "m"},
        "Optics": {"AccelerationVoltage": "200000"},
        "Scan": {"FrameTime": "1.5"},
        "Detectors": {},
        **{name: {} for name in ("Acquisition", "CustomProperties", "Instrument", "Stage", "Sample")},
    }
    text = np.frombuffer(json.dumps(metadata).encode().ljust(2000, b"\0"), np.uint8)
    turned = np.ascontiguousarray(np.moveaxis(images, 0, -1))
    with h5py.File(path, "a") as file:
        if "Version" not in file:
            file["Version"] = [json.dumps({"format": "Velox", "version": "12"}).encode()]
        group = file.create_group(f"Data/Image/{name}")
        group.create_dataset("Data", data=turned, chunks=(*turned.shape[:2], 1), **options)
        group.create_dataset("Metadata", data=np.repeat(text[:, None], len(images), axis=1))
    return path
