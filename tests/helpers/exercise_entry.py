"""Makes the entry of an exercise for `exercises.toml`: a salt and hashes, never the answer.

    python tests/helpers/exercise_entry.py ex-gap 24 --tolerance 0 --wrong 20 25

A number is accepted within the tolerance, a share of it: always up to one tolerance, never from
two on. With tolerance 0 it must be right to nine digits, as whole numbers and 0 should be. An
answer that is no number is a text, such as the letter of a choice. `--wrong` names answers that
a student may well give; a test sees that they are refused.
"""

import argparse
import json
import secrets

from iclbook.chapter import fingerprint


def entry(label: str, answer: float | str, tolerance: float, wrong: list) -> str:
    """The entry as TOML. A text, 0 and whatever has tolerance 0 has one hash, others three."""
    salt = secrets.token_hex(8)
    exact = isinstance(answer, str) or answer == 0 or tolerance == 0
    tolerance, cells = (0, [0]) if exact else (tolerance, [-1, 0, 1])
    hashes = sorted(fingerprint(answer, salt, tolerance, cell) for cell in cells)
    lines = [f"[{label}]", f'salt = "{salt}"', f"tolerance = {tolerance}"]
    lines += [f"hashes = {json.dumps(hashes)}", f"wrong = {json.dumps(wrong)}"]
    return "\n".join(lines) + "\n"


def number_or_text(word: str) -> float | str:
    try:
        return float(word)
    except ValueError:
        return word


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("label")
    parser.add_argument("answer", type=number_or_text)
    parser.add_argument("--tolerance", type=float, default=0.02)
    parser.add_argument("--wrong", type=number_or_text, nargs="+", required=True)
    given = parser.parse_args()
    print(entry(given.label, given.answer, given.tolerance, given.wrong), end="")
