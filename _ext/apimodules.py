"""Write the API page: every module of `iclbook`, from its docstrings.

A page that holds the line `<!-- iclbook modules -->` gets one section a module in its place.
The modules are found by walking the package, so a new one needs no entry anywhere. Docstrings
are plain text: prose is escaped, and a paragraph with indented lines is kept line by line. So
no docstring can break the build.
"""

import pkgutil
import re
from importlib.util import find_spec

MARKER = "<!-- iclbook modules -->"
NOT_SHOWN = {
    "iclbook.cli",
    "iclbook.__main__",
}  # commands, not functions: `iclbook --help` documents them


def module_names(package: str = "iclbook") -> list[str]:
    """Names of the package's public modules and subpackages, in alphabetical order."""
    places = find_spec(package).submodule_search_locations
    found = [module.name for module in pkgutil.walk_packages(places, prefix=f"{package}.")]
    public = [name for name in found if not name.rpartition(".")[2].startswith("_")]
    return [package, *sorted(set(public) - NOT_SHOWN)]


def sections(names: list[str]) -> str:
    """MyST text with one section a module."""
    block = "## `{0}`\n\n```{{eval-rst}}\n.. automodule:: {0}\n   :members:\n```\n"
    return "\n".join(block.format(name) for name in names)


def fill_marker(app, docname, source):
    """Replace the marker line of a page by the sections (event source-read)."""
    if MARKER in source[0]:
        source[0] = source[0].replace(MARKER, sections(module_names()))


def as_restructured_text(docstring: str) -> str:
    """Plain docstring text as reStructuredText that cannot warn. `code` becomes code; the rest
    is escaped."""
    paragraphs = []
    for paragraph in re.split(r"\n\s*\n", docstring.strip("\n")):
        lines = paragraph.split("\n")
        if any(line.startswith((" ", "- ", "* ", "|", ">>>")) for line in lines):
            paragraphs.append("::\n\n" + "\n".join(f"    {line}" for line in lines))
            continue
        pieces = re.split(r"`([^`]+)`", paragraph.replace("``", "`"))
        for i, piece in enumerate(pieces):
            pieces[i] = rf"\ ``{piece}``\ " if i % 2 else re.sub(r"([\\*_|`:])", r"\\\1", piece)
        paragraphs.append(re.sub(r"(?m)^(?=[-+=#.~^\"'(\d]|\w[.)] )", r"\\", "".join(pieces)))
    return "\n\n".join(paragraphs)


def rewrite_docstring(app, what, name, obj, options, lines):
    """Put the safe form of a docstring in place of the raw one (event
    autodoc-process-docstring)."""
    lines[:] = [*as_restructured_text("\n".join(lines)).split("\n"), ""]


def skip_field_alias(app, what, name, obj, skip, options):
    """A named tuple's fields carry no docstring of ours (event autodoc-skip-member)."""
    return (
        True
        if (getattr(obj, "__doc__", "") or "").startswith("Alias for field number")
        else None
    )


def setup(app):
    app.connect("source-read", fill_marker)
    app.connect("autodoc-process-docstring", rewrite_docstring)
    app.connect("autodoc-skip-member", skip_field_alias)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
