"""Sidecars that vouch for what a test made of them."""

import hashlib
import json


def vouched(meta: dict) -> str:
    """The text of a result's JSON with a hash that fits its content."""
    meta = {name: value for name, value in meta.items() if name != "sha256"}
    return json.dumps(meta | {"sha256": hashlib.sha256(json.dumps(meta).encode()).hexdigest()})
