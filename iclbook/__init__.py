"""An executable book on in-context learning: the helper package behind its chapters."""

__version__ = "0.1.0"
