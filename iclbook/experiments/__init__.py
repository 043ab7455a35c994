"""Experiments: settings in, tidy table out."""
