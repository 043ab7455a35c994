"""Checks on the book's files. Each returns a list of faults, one line each; an empty list means sound."""

import ast
import copy
import json
import os
import re
from pathlib import Path
from urllib.parse import unquote, urlsplit

import nbformat
from bs4 import BeautifulSoup

LINE_LIMIT = 250
KERNEL = {"display_name": "Python 3", "language": "python", "name": "python3"}
PRINTS = re.compile(r"(?<![.\w])(?:table|deviations|claims_of|display)\(")
DRAWS = re.compile(r"\bplots\.\w+\(|\bplt\.(?!style|rc|close)\w+\(|\bsns\.\w+\(")

# Layers of iclbook, lowest first: a module may import from its own layer and from the ones below.
LAYERS = (
    ("errors",),
    ("ridge", "dual", "bridge"),
    ("settings",),
    ("experiments",),
    ("store", "claims", "plots", "drawing", "cluster"),
    ("runner",),
    ("chapter", "cli", "__main__"),
)
VAGUE_NAMES = {
    "utils",
    "util",
    "helpers",
    "helper",
    "misc",
    "common",
    "tools",
    "functions",
    "core",
}

# What a published file must not hold: folders of one machine, options that name a package index.
PRIVATE = re.compile(
    r"(?<![\w.~$)\]}/-])/(?:home|Users|root|work|tmp|opt|mnt)/\w|\b[A-Z]:\\\\?Users\b"
    r"|--(?:extra-)?index-url|--find-(?:links)|https?://\S+/(?:simple|whl)\b"
)


# --- notebooks


def notebook_faults(path: Path) -> list[str]:
    """A chapter has no outputs and no counts, kernel python3, nbformat 4.5 and unique cell ids."""
    try:
        raw = json.loads(
            path.read_text(encoding="utf-8")
        )  # nbformat.read would mend repeated ids
        notebook = nbformat.from_dict(raw)
        nbformat.validate(copy.deepcopy(notebook))
    except Exception as error:  # nbformat raises many kinds
        return [f"{path.name}: not a valid notebook ({type(error).__name__})"]
    if (notebook.nbformat, notebook.nbformat_minor) != (4, 5):
        return [f"{path.name}: nbformat {notebook.nbformat}.{notebook.nbformat_minor}, not 4.5"]
    faults = []
    if dict(notebook.metadata.get("kernelspec", {})) != KERNEL:
        faults.append(f"{path.name}: kernelspec is not {KERNEL}")
    ids = [cell.get("id") for cell in notebook.cells]
    if len(set(ids)) != len(ids):
        faults.append(f"{path.name}: cell ids repeat")
    for number, cell in enumerate(notebook.cells):
        if cell.cell_type == "code" and (cell.outputs or cell.execution_count is not None):
            faults.append(f"{path.name}: cell {number} keeps outputs; run make strip")
        if not "".join(cell.source).strip():
            faults.append(f"{path.name}: cell {number} is empty")
    return faults


def figure_faults(path: Path) -> list[str]:
    """Every cell that draws carries a caption, a name to refer to, and a text for who cannot see it."""
    faults, names = [], []
    for number, cell in enumerate(nbformat.read(path, as_version=4).cells):
        settings = cell.metadata.get("mystnb", {})
        figure, image = settings.get("figure", {}), settings.get("image", {})
        draws = DRAWS.search(re.sub(r"#.*", "", cell.source))
        if cell.cell_type != "code" or not (draws or figure or image):
            continue
        name, alt = figure.get("name", ""), image.get("alt", "")
        names.append(name)
        if not figure.get("caption", "").strip():
            faults.append(f"{path.name}: cell {number} draws without mystnb.figure.caption")
        if not name.startswith("fig-"):
            faults.append(
                f"{path.name}: cell {number} draws without mystnb.figure.name 'fig-...'"
            )
        if len(alt.split()) < 4:
            faults.append(
                f"{path.name}: cell {number} draws without a telling mystnb.image.alt"
            )
        if PRINTS.search(cell.source):
            faults.append(
                f"{path.name}: cell {number} draws and prints a table, which would share the caption; split it"
            )
    repeated = {name for name in names if names.count(name) > 1}
    return faults + [f"{path.name}: figure name {name!r} repeats" for name in sorted(repeated)]


# --- built pages


LOADING = {
    "audio": ["src"], "embed": ["src"], "iframe": ["src"], "img": ["src", "srcset"], "input": ["src"],
    "script": ["src"], "source": ["src", "srcset"], "track": ["src"], "video": ["src", "poster"],
    "image": ["href", "xlink:href"], "link": ["href"], "object": ["data"], "use": ["href", "xlink:href"],
}  # fmt: skip
LOAD_NOTHING = {
    "author",
    "canonical",
    "copyright",
    "help",
    "index",
    "license",
    "next",
    "prev",
    "search",
}
OUTSIDE = re.compile(r"^\s*(?:[a-z][a-z0-9+.-]*:)?//", re.I)
SCRIPT_ADDRESS = re.compile(r"""['"]((?:https?:)?//[\w.-]+\.[a-z]{2,}[^'"]*)['"]""")
CSS_LOADS = re.compile(r"""url\(\s*['"]?([^'")]+)|@import\s+['"]([^'"]+)""", re.I)


def outside_faults(html: Path) -> list[str]:
    """No page or style sheet under `html` loads from another host. Links that a reader clicks are free."""
    wanted = [
        (page, address) for page, soup in _pages(html).items() for address in _loaded(soup)
    ]
    for sheet in sorted(html.rglob("*.css")):
        wanted += [
            (sheet, address) for address in _css_loaded(sheet.read_text(encoding="utf-8"))
        ]
    outside = [(file, address) for file, address in wanted if OUTSIDE.match(address)]
    return [f"{file.relative_to(html)}: loads {address}" for file, address in outside]


def _pages(html: Path) -> dict[Path, BeautifulSoup]:
    pages = [
        page
        for page in sorted(html.rglob("*.html"))
        if "_static" not in page.relative_to(html).parts
    ]
    return {
        page: BeautifulSoup(page.read_text(encoding="utf-8"), "html.parser") for page in pages
    }


def _loaded(soup: BeautifulSoup) -> list[str]:
    """Addresses that a browser fetches by itself when it opens the page."""
    found = []
    for tag in soup.find_all(list(LOADING)):
        if tag.name == "link" and set(tag.get("rel") or []) <= LOAD_NOTHING:
            continue
        for name in LOADING[tag.name]:
            values = tag.get(name, "").split(",") if name == "srcset" else [tag.get(name, "")]
            found += [value.split()[0] for value in values if value.strip()]
    styles = [tag.get_text() for tag in soup.find_all("style")]
    styles += [tag["style"] for tag in soup.find_all(style=True)]
    found += [address for style in styles for address in _css_loaded(style)]
    scripts = [tag.get_text() for tag in soup.find_all("script", src=False)]
    return found + [address for script in scripts for address in SCRIPT_ADDRESS.findall(script)]


def _css_loaded(text: str) -> list[str]:
    return [first or second for first, second in CSS_LOADS.findall(text)]


def link_faults(html: Path) -> list[str]:
    """Every link, image and script inside the book leads to a file, and every #anchor to an id on it."""
    pages = _pages(html)
    anchors = {
        page: {tag[key] for key in ("id", "name") for tag in soup.find_all(attrs={key: True})}
        for page, soup in pages.items()
    }
    faults = []
    for page, soup in pages.items():
        tags = soup.find_all(["a", "img", "link", "script"])
        for address in [tag[key] for tag in tags for key in ("href", "src") if tag.get(key)]:
            parts = urlsplit(address)
            path, fragment = unquote(parts.path), unquote(parts.fragment)
            if parts.scheme or parts.netloc:
                continue
            target = Path(os.path.normpath(page.parent / path)) if path else page
            if path.startswith("/"):
                faults.append(f"{page.name}: {address} is an absolute path")
            elif not target.is_file():
                faults.append(f"{page.name}: {address} leads nowhere")
            elif fragment and fragment not in anchors.get(target, {fragment}):
                faults.append(f"{page.name}: {address} has no such anchor")
    return faults


def private_faults(text: str, name: str) -> list[str]:
    """No absolute path of one machine and no setting that names a package index."""
    found = [match.group(0) for match in PRIVATE.finditer(text)]
    return [f"{name}: {match!r} does not belong in a published file" for match in found]


# --- package


def layer_of(name: str) -> int:
    """Layer of a module such as 'iclbook.ridge.prompt'; the package itself is the lowest."""
    parts = name.split(".")
    if len(parts) == 1:
        return 0
    return next((level for level, names in enumerate(LAYERS) if parts[1] in names), -1)


def imported_names(path: Path, package: str) -> set[str]:
    """Dotted names of what a file imports from `package`, whatever the depth at which the import stands."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.level == 0:
            found |= {f"{node.module}.{alias.name}" for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            found.add("." * node.level)
    return {name for name in found if name.split(".")[0] in (package, "")}


def package_faults(package: Path) -> list[str]:
    """Arrows point one way, module names say something, and no module is longer than the limit."""
    faults = []
    for path in sorted(package.rglob("*.py")):
        parts = path.relative_to(package.parent).with_suffix("").parts
        name = ".".join(parts[:-1] if parts[-1] == "__init__" else parts)
        length = len(path.read_text(encoding="utf-8").splitlines())
        if length > LINE_LIMIT:
            faults.append(f"{name}: {length} lines, more than {LINE_LIMIT}")
        if parts[-1] in VAGUE_NAMES:
            faults.append(f"{name}: the name does not say what the module holds")
        if layer_of(name) < 0:
            faults.append(f"{name}: belongs to no layer; name one in tests/tooling/checks.py")
            continue
        for target in sorted(imported_names(path, package.name)):
            if not target.split(".")[0]:
                faults.append(f"{name}: relative import; write {package.name}. in full")
            elif layer_of(target) > layer_of(name):
                faults.append(f"{name}: imports {target} from a higher layer")
    return faults


def pin_faults(text: str) -> list[str]:
    """Every line of a requirements file is a comment, an exact pin (with an optional marker) or '-e .'."""
    pin = re.compile(r"#.*|-e \.|[A-Za-z0-9._-]+==[A-Za-z0-9.!]+( ; .+)?|")
    return [
        f"not an exact pin: {line}" for line in text.splitlines() if not pin.fullmatch(line)
    ]
