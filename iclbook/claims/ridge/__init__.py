"""Checks of part I."""
