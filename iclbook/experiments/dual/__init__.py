"""Experiments of part II."""
