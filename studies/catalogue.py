"""Every chapter with a study, in the book's order, and every experiment by id. Imports neither
torch nor pandas."""

import importlib
from pathlib import Path

from iclbook.errors import require

FOLDER = Path(__file__).parent

CHAPTERS = (
    "ridge/prompt",
    "ridge/population_loss",
    "ridge/unseen",
    "ridge/heads",
    "ridge/convergence",
    "ridge/ridge_regression",
    "ridge/template",
    "ridge/many_heads",
    "ridge/other_prompts",
    "ridge/depth",
    "ridge/related",
    "dual/one_step",
    "dual/kernel",
    "dual/representation",
    "dual/generalisation",
    "dual/layers",
    "dual/modified",
    "dual/trained",
    "dual/further_tasks",
    "dual/language",
    "bridge/two_lenses",
    "bridge/signed",
    "bridge/failure_signatures",
    "bridge/real_data",
    "bridge/over_prompts",
)

_SETTINGS = [
    importlib.import_module(f"studies.{chapter.replace('/', '.')}.settings")
    for chapter in CHAPTERS
]
_EVERY = [e for settings in _SETTINGS for e in settings.EXPERIMENTS]
EXPERIMENTS = {e.id: e for e in _EVERY}
_TWICE = {e.id for e in _EVERY if e is not EXPERIMENTS[e.id]}
require(not _TWICE, f"two experiments share an id: {', '.join(sorted(_TWICE))}")
