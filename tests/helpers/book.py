"""Where the book's files stand."""

from pathlib import Path

BOOK = Path(__file__).resolve().parents[2]
