"""Pages with markers: a comment such as <!-- every claim --> gives way to what is generated."""

from collections.abc import Callable, Mapping


def filler(markers: Mapping[str, Callable[[], str]]):
    """A listener of Sphinx's event source-read that puts markers[marker]() in each marker's
    place."""

    def fill(app, docname, source):
        for marker, text in markers.items():
            if marker in source[0]:
                source[0] = source[0].replace(marker, text())

    return fill
