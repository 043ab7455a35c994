"""Checks on the book's files. Each returns a list of faults, one line each; an empty list means
sound."""

import ast
import copy
import io
import json
import os
import re
import tokenize
from pathlib import Path
from urllib.parse import unquote, urlsplit

import nbformat
from bs4 import BeautifulSoup

COLUMNS = 96
DOCUMENTED = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
KERNEL = {"display_name": "Python 3 (ipykernel)", "language": "python", "name": "python3"}
PRINTS = re.compile(r"(?<![.\w])(?:table|deviations|claims_of|display)\(")
DRAWS = re.compile(r"\bplots\.\w+\(|\bplt\.(?!style|rc|close)\w+\(|\bsns\.\w+\(")

# Layers, lowest first: a module may import from its own layer and from those below. The names
# are of the project's modules, the longest that fits; `iclbook` never imports a study.
LAYERS = (
    ("iclbook", "iclbook.errors", "iclbook.values"),
    ("iclbook.training",),
    ("iclbook.ridge", "iclbook.dual", "iclbook.bridge"),
    ("iclbook.experiment", "iclbook.files", "iclbook.machine", "iclbook.statistics"),
    (
        *("iclbook.store", "iclbook.checkpoint", "iclbook.catalogue", "iclbook.tables"),
        "iclbook.contents",
    ),
    ("iclbook.plots", "iclbook.drawing", "iclbook.claim", "iclbook.unfinished"),
    ("iclbook.runner", "iclbook.cluster"),
    ("iclbook.plan", "iclbook.verify"),
    ("iclbook.other_seeds", "iclbook.card"),
    ("iclbook.chapter", "iclbook.listing", "iclbook.options"),
    ("iclbook.cli", "iclbook.__main__"),
)
# What a file of a study may import, beside libraries and files of its own kind elsewhere. What
# computes may read settings too.
STUDY_FILES = {
    "settings": ("iclbook.experiment", "iclbook.errors"),
    "tables": ("iclbook.claim", "iclbook.errors", "iclbook.statistics"),
    "compute": (
        *("iclbook.ridge", "iclbook.dual", "iclbook.bridge"),
        *("iclbook.training", "iclbook.errors", "iclbook.checkpoint"),
    ),
}
LIGHT = {"settings": ("torch", "pandas", "numpy"), "tables": ("torch",)}
CODE_LINES = {"iclbook": 4_000, "module": 300, "study file": 400, "function": 60}
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

# What a published file must not hold: folders of one machine, options that name a package
# index.
PRIVATE = re.compile(
    r"(?<![\w.~$)\]}/-])/(?:home|Users|root|work|tmp|opt|mnt)/\w|\b[A-Z]:\\\\?Users\b"
    r"|--(?:extra-)?index-url|--find-(?:links)|https?://\S+/(?:simple|whl)\b"
)


# --- notebooks


def notebook_faults(path: Path) -> list[str]:
    """A chapter has no outputs and no counts, kernel python3, nbformat 4.5 and unique cell
    ids."""
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
    kernel = dict(notebook.metadata.get("kernelspec", {}))
    # JupyterLab shows the kernel under another name; what runs is the same.
    if kernel | {"display_name": KERNEL["display_name"]} != KERNEL:
        faults.append(f"{path.name}: kernelspec is not {KERNEL}")
    ids = [cell.get("id") for cell in notebook.cells]
    if len(set(ids)) != len(ids):
        faults.append(f"{path.name}: cell ids repeat")
    for number, cell in enumerate(notebook.cells):
        if cell.cell_type == "code" and (cell.outputs or cell.execution_count is not None):
            faults.append(f"{path.name}: cell {number} keeps outputs; run make strip")
        source = "".join(cell.source)
        if not source.strip():
            faults.append(f"{path.name}: cell {number} is empty")
        if cell.cell_type == "code":
            wide = [line for line in source.splitlines() if len(line) > COLUMNS]
            if wide:
                faults.append(f"{path.name}: cell {number} is wider than {COLUMNS} columns")
            if re.search(r"(?m)^\s*\w+ = lambda\b|# fmt\b", source):
                faults.append(f"{path.name}: cell {number} names a lambda or skips formatting")
    return faults


def figure_faults(path: Path) -> list[str]:
    """Every cell that draws carries a caption, a name to refer to, and a text for who cannot
    see it."""
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
                f"{path.name}: cell {number} draws and prints a table, which would share the "
                "caption; split it"
            )
    repeated = {name for name in names if names.count(name) > 1}
    return faults + [f"{path.name}: figure name {name!r} repeats" for name in sorted(repeated)]


# --- built pages


LOADING = {
    **dict.fromkeys(("audio", "embed", "iframe", "input", "script", "track"), ("src",)),
    **dict.fromkeys(("img", "source"), ("src", "srcset")),
    **dict.fromkeys(("image", "use"), ("href", "xlink:href")),
    "link": ("href",),
    "object": ("data",),
    "video": ("src", "poster"),
}
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
    """No page or style sheet under `html` loads from another host. Links that a reader clicks
    are free."""
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
    """Every link, image and script inside the book leads to a file, and every #anchor to an id
    on it."""
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


# --- package and studies


def code_lines(path: Path) -> list[int]:
    """Numbers of the lines that hold code: no blank lines, comments or docstrings."""
    source = path.read_text(encoding="utf-8")
    held = set()
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type in (tokenize.NAME, tokenize.OP, tokenize.NUMBER, tokenize.STRING):
            held |= set(range(token.start[0], token.end[0] + 1))
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, DOCUMENTED) and ast.get_docstring(node) is not None:
            held -= set(range(node.body[0].lineno, node.body[0].end_lineno + 1))
    return sorted(held)


def layer_of(name: str) -> int:
    """Layer of a module such as 'iclbook.ridge.prompt', by the longest name listed, or -1."""
    fitting = [
        (len(known), level)
        for level, names in enumerate(LAYERS)
        for known in names
        if name == known or (known != "iclbook" and name.startswith(f"{known}."))
    ]
    return max(fitting)[1] if fitting else -1


def imported_modules(path: Path, root: Path) -> set[str]:
    """Modules of the project that a file imports, at whatever depth the import stands."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.level:
            found.add("." * node.level)
        elif isinstance(node, ast.ImportFrom):
            for alias in node.names:
                whole = f"{node.module}.{alias.name}"
                place = root / whole.replace(".", "/")
                is_module = place.is_dir() or place.with_suffix(".py").is_file()
                found.add(whole if is_module else node.module)
    return {name for name in found if name.split(".")[0] in ("iclbook", "studies", "")}


def module_name(path: Path, root: Path) -> str:
    parts = path.relative_to(root).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def length_faults(path: Path, name: str, limit: int) -> list[str]:
    """No file and no function longer than allowed."""
    faults = []
    length = len(path.read_text(encoding="utf-8").splitlines())
    if length > limit:
        faults.append(f"{name}: {length} lines, more than {limit}")
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.FunctionDef):
            length = node.end_lineno - node.lineno + 1
            if length > CODE_LINES["function"]:
                faults.append(f"{name}: {node.name} has {length} lines")
    return faults


def package_faults(root: Path) -> list[str]:
    """In `root/iclbook`: arrows point one way, names say something, nothing is too long."""
    faults = []
    for path in sorted((root / "iclbook").rglob("*.py")):
        name = module_name(path, root)
        faults += length_faults(path, name, CODE_LINES["module"])
        if path.stem in VAGUE_NAMES:
            faults.append(f"{name}: the name does not say what the module holds")
        if layer_of(name) < 0:
            faults.append(f"{name}: belongs to no layer; name one in tests/helpers/checks.py")
            continue
        for target in sorted(imported_modules(path, root)):
            if not target.split(".")[0]:
                faults.append(f"{name}: relative import; write iclbook. in full")
            elif target.startswith("studies"):
                faults.append(f"{name}: imports a study, {target}")
            elif layer_of(target) > layer_of(name):
                faults.append(f"{name}: imports {target} from a higher layer")
    return faults


def generators(root: Path) -> set[str]:
    """Names of the functions in `root/iclbook` and `root/studies` that yield."""
    found = set()
    for folder in ("iclbook", "studies"):
        for path in (root / folder).rglob("*.py"):
            for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
                if isinstance(node, ast.FunctionDef):
                    inner = [
                        n for n in ast.walk(node) if isinstance(n, ast.Yield | ast.YieldFrom)
                    ]
                    decorated = {ast.unparse(d) for d in node.decorator_list}
                    if inner and "contextmanager" not in " ".join(decorated):
                        found.add(node.name)
    return found


def idle_faults(source: str, where: str, names: set[str]) -> list[str]:
    """A generator that is called and not gone through does nothing, and says nothing."""
    faults = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Call):
            call = node.value
            called = ast.unparse(call.func).rpartition(".")[2]
            # A module's own train() sets a flag; a loop of ours takes arguments.
            if called in names and (call.args or call.keywords):
                faults.append(f"{where}: {called}(...) is not gone through, so nothing is done")
    return faults


def study_faults(root: Path) -> list[str]:
    """In `root/studies`: each file imports only what its kind may, and is not too long."""
    faults = []
    for path in sorted((root / "studies").rglob("*.py")):
        name = module_name(path, root)
        faults += length_faults(path, name, CODE_LINES["study file"])
        if path.stem in ("__init__", "catalogue"):
            continue
        allowed = STUDY_FILES.get(path.stem, STUDY_FILES["compute"])
        for target in sorted(imported_modules(path, root)):
            kind = target.split(".")[-1]
            computes = path.stem not in STUDY_FILES or path.stem == "compute"
            same_kind = target.startswith("studies.") and (
                kind not in STUDY_FILES
                or kind == path.stem
                or (computes and kind in ("settings", "compute"))
            )
            fits = any(target == known or target.startswith(f"{known}.") for known in allowed)
            if not (same_kind or fits):
                faults.append(f"{name}: {path.stem} may not import {target}")
    return faults


def pin_faults(text: str) -> list[str]:
    """Every line of a requirements file is a comment, an exact pin (with an optional marker) or
    '-e .'."""
    pin = re.compile(r"#.*|-e \.|[A-Za-z0-9._-]+==[A-Za-z0-9.!]+( ; .+)?|")
    return [
        f"not an exact pin: {line}" for line in text.splitlines() if not pin.fullmatch(line)
    ]
