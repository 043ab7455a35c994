"""`make test-plain` really computes with the plainest instruction set."""

import os
import re
import shlex
import subprocess
import sys

import numpy as np
import pytest
import torch
from book import BOOK

from iclbook.machine import processor

SIMD = np.show_config(mode="dicts")["SIMD Extensions"]
MAKEFILE = (BOOK / "Makefile").read_text(encoding="utf-8")


@pytest.mark.skipif("ICLBOOK_PLAIN" not in os.environ, reason="runs under make test-plain")
def test_nothing_but_the_plain_instruction_set_is_active():
    assert torch.backends.cpu.get_cpu_capability() == "DEFAULT"
    active = np.show_config(mode="dicts")["SIMD Extensions"].get("found", [])
    assert active == [], active
    assert "torch DEFAULT, numpy baseline" in processor()["instruction_set"]


def test_the_makefile_names_every_instruction_set_that_this_numpy_can_use():
    """numpy ignores a name that it does not know; a new version may know others."""
    named = re.search(r'NPY_DISABLE_CPU_FEATURES="([^"]+)"', MAKEFILE).group(1).split()
    if "X86_V2" not in SIMD["baseline"]:
        pytest.skip("another processor family")
    known = [*SIMD.get("found", []), *SIMD.get("not found", [])]
    assert set(known) <= set(named), "mend PLAIN in the Makefile"


def test_the_settings_of_the_makefile_take_effect():
    """They are read when a library starts, so a process of its own tells."""
    text = MAKEFILE.replace("\\\n", " ")
    settings = shlex.split(re.search(r"(?m)^PLAIN := (.*)$", text).group(1))
    plain = dict(setting.split("=", 1) for setting in settings)
    code = "from iclbook.machine import processor\nprint(processor()['instruction_set'])"
    done = subprocess.run(
        [sys.executable, "-c", code], env=os.environ | plain, capture_output=True, text=True
    )
    assert "torch DEFAULT, numpy baseline" in done.stdout, done.stdout + done.stderr
