"""Checks of part II."""
