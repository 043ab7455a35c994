"""What the files of a result hold: a table as CSV; an array, such as trained weights, as `.npy`
and never as a pickle."""

import io

import numpy as np
import pandas as pd

from iclbook.errors import require
from iclbook.experiment import Experiment

CSV = {"index": False, "float_format": "%.10g", "lineterminator": "\n"}
LIMIT = 3_000_000  # bytes of an experiment's arrays


def as_file(name: str, x: pd.DataFrame | np.ndarray) -> tuple[str, bytes]:
    """(name of the file, content) of a table or an array. An array has the same bytes however
    it lies in memory."""
    if isinstance(x, pd.DataFrame):
        return f"{name}.csv", x.to_csv(**CSV).encode()
    np.save(content := io.BytesIO(), np.asarray(x, order="C"), allow_pickle=False)
    return f"{name}.npy", content.getvalue()


def from_file(file: str, content: bytes) -> tuple[str, pd.DataFrame | np.ndarray]:
    """(name, table or array) of a file. Raises one error or another for what `as_file` did not
    write, a pickle among it."""
    name, source = file[:-4], io.BytesIO(content)
    if file.endswith(".csv"):
        return name, pd.read_csv(source, keep_default_na=False, na_values=["", "nan"])
    return name, np.lib.format.read_array(source, allow_pickle=False)


def described(experiment: Experiment, arrays: dict, points: int = 1) -> dict[str, dict]:
    """{name: {shape, dtype}} of arrays. Raises InputError unless they are the declared ones,
    of finite numbers and, `points` times, within the limit."""
    differ = ", ".join(sorted(arrays.keys() ^ experiment.arrays.keys()))
    require(not differ, f"{experiment.id}: arrays that are declared or returned only: {differ}")
    for name, x in arrays.items():
        fits = isinstance(x, np.ndarray) and x.dtype.kind in "biuf" and np.isfinite(x).all()
        require(bool(fits), f"{experiment.id}: {name} is no numpy array of finite numbers")
    size = points * sum(x.nbytes for x in arrays.values())
    require(size <= LIMIT, f"{experiment.id}: {size:,} bytes of arrays, more than {LIMIT:,}")
    return {n: {"shape": list(x.shape), "dtype": str(x.dtype)} for n, x in arrays.items()}
