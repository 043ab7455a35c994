"""Experiments of part I."""
