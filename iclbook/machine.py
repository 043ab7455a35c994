"""Where a number was computed: processor, active instruction sets, versions of packages."""

import functools
import os
import platform
import subprocess
from contextlib import suppress
from importlib.metadata import version
from pathlib import Path

PACKAGES = ("torch", "numpy", "scipy", "scikit-learn", "pandas", "transformers")


@functools.cache
def processor() -> dict[str, str]:
    """Processor model and the instruction sets in use: what can change the last bits of a
    number."""
    import numpy as np
    import torch
    from threadpoolctl import threadpool_info

    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        model = next(line.partition(":")[2] for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        model = platform.processor() or platform.machine()
    simd = np.show_config(mode="dicts")["SIMD Extensions"].get("found") or ["baseline"]
    blas = [found for found in threadpool_info() if found["internal_api"] != "openmp"]
    active = [f"torch {torch.backends.cpu.get_cpu_capability()}", f"numpy {simd[-1]}"]
    active += [f"{found['internal_api']} {found.get('architecture')}" for found in blas]
    return {"processor": model.strip(), "instruction_set": ", ".join(dict.fromkeys(active))}


def machine(device: str = "cpu") -> dict:
    """The machine: `processor`, architecture, cores, system, and the device where it is not the
    processor. No host name."""
    place = {"architecture": platform.machine(), "cores": os.cpu_count()}
    found = processor() | place | {"system": platform.system()}
    if device == "cpu":
        return found
    import torch

    return found | {"device": torch.cuda.get_device_name(device)}


def in_words(machine: dict) -> str:
    """A stored machine as a figure's provenance line says it."""
    model = "" if machine["processor"] == "unknown" else f"{machine['processor']}, "
    model = f"{machine['device']}; {model}" if "device" in machine else model
    return f"{model}{machine['architecture']}, {machine['cores']} cores, {machine['system']}"


def described(*machines: dict) -> str:
    """Machines with the instruction sets that were active there."""
    words = (f"{in_words(m)} (instruction set {m['instruction_set']})" for m in machines)
    return "; ".join(dict.fromkeys(words))


def versions() -> dict[str, str]:
    """Versions of Python and of the packages whose change can change a number."""
    return {"python": platform.python_version()} | {name: version(name) for name in PACKAGES}


def commit() -> str | None:
    """The commit at which this code stands; None where git does not say."""
    place = Path(__file__).parent
    with suppress(OSError, subprocess.CalledProcessError):
        return subprocess.check_output(
            ["git", "-C", place, "rev-parse", "HEAD"], text=True, stderr=subprocess.DEVNULL
        ).strip()
    return None
