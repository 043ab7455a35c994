"""Every chapter with a study, in the book's order, and every experiment by id. Imports neither
torch nor pandas."""

import importlib
from pathlib import Path

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
    "ridge/depth",
    "dual/kernel",
    "dual/one_step",
    "dual/representation",
    "dual/generalisation",
    "dual/layers",
    "dual/modified",
    "dual/trained",
    "dual/further_tasks",
)

_SETTINGS = [
    importlib.import_module(f"studies.{chapter.replace('/', '.')}.settings")
    for chapter in CHAPTERS
]
EXPERIMENTS = {e.id: e for settings in _SETTINGS for e in settings.EXPERIMENTS}
