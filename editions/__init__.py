"""Editions of the book for a class: notebooks without solutions, notebooks with teaching notes,
and slides, all made from the chapters."""
