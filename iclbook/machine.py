"""Where a number was computed: processor, active instruction sets, versions of packages."""

import functools
import os
import platform
from importlib.metadata import version
from pathlib import Path

PACKAGES = ("torch", "numpy", "scipy", "scikit-learn", "pandas")


@functools.cache
def processor() -> dict[str, str]:
    """Processor model and the instruction sets in use: what can change the last bits of a number."""
    import numpy as np
    import torch

    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        model = next(
            line.partition(":")[2].strip() for line in lines if line.startswith("model name")
        )
    except (OSError, StopIteration):
        model = platform.processor() or platform.machine()
    blas = np.show_config(mode="dicts")["Build Dependencies"]["blas"]["name"]
    simd = np.show_config(mode="dicts")["SIMD Extensions"].get("found", [])
    active = f"torch {torch.backends.cpu.get_cpu_capability()}, numpy {simd[-1] if simd else 'baseline'}, {blas} {_blas_core()}"
    return {"processor": model, "instruction_set": active}


def _blas_core() -> str:
    from threadpoolctl import threadpool_info

    cores = {
        found.get("architecture", "")
        for found in threadpool_info()
        if found["internal_api"] == "openblas"
    }
    return "/".join(sorted(cores)) or "unknown"


def machine() -> dict:
    """The machine: `processor`, architecture, cores, system. No host name."""
    return processor() | {
        "architecture": platform.machine(),
        "cores": os.cpu_count(),
        "system": platform.system(),
    }


def in_words(machine: dict) -> str:
    """A stored machine as a figure's provenance line says it."""
    model = "" if machine["processor"] == "unknown" else f"{machine['processor']}, "
    return f"{model}{machine['architecture']}, {machine['cores']} cores, {machine['system']}"


def versions() -> dict[str, str]:
    """Versions of Python and of the packages whose change can change a number."""
    return {"python": platform.python_version()} | {name: version(name) for name in PACKAGES}
