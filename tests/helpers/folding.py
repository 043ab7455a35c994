"""Which cells of a chapter are folded: a reader sees first what carries an idea."""

import ast
import re
from pathlib import Path

import nbformat

SHOWN_WITHOUT_CODE = {"claims_of", "deviations"}
DRAWING = re.compile(r"\b(?:fig|ax|axes|plots|plt|sns|drawing)\b|\bax\w*\.|\brow\[")


def own_lines(statement: ast.stmt) -> set[int]:
    """Numbers of the lines of a statement, without those of the statements that it holds."""
    held = {
        line
        for inner in ast.walk(statement)
        if isinstance(inner, ast.stmt) and inner is not statement
        for line in range(inner.lineno, inner.end_lineno + 1)
    }
    return set(range(statement.lineno, statement.end_lineno + 1)) - held


def _called(statement: ast.stmt) -> str:
    """The name of the function that a statement calls and no more, or ""."""
    call = statement.value if isinstance(statement, ast.Expr) else None
    return ast.unparse(call.func) if isinstance(call, ast.Call) else ""


def _asserts(statement: ast.stmt) -> bool:
    return isinstance(statement, ast.Assert) or "assert_" in _called(statement)


def wanted_tag(source: str, figure: bool) -> str:
    """The tag that a code cell needs, "" where its code is to be seen.

    `remove-input`: it only shows claims or differences from the paper. `hide-input`: at least
    half of its lines import, or draw where it makes a figure, or it only asserts.
    """
    tree = ast.parse(source)
    if all(_called(statement) in SHOWN_WITHOUT_CODE for statement in tree.body):
        return "remove-input"
    if all(map(_asserts, tree.body)):
        return "hide-input"
    text = [re.sub(r"#.*", "", line) for line in source.splitlines()]
    lines = folded = 0
    for statement in (node for node in ast.walk(tree) if isinstance(node, ast.stmt)):
        own = [text[number - 1] for number in sorted(own_lines(statement))]
        own = [line for line in own if line.strip()]
        lines += len(own)
        imports = isinstance(statement, (ast.Import, ast.ImportFrom))
        draws = figure and not _asserts(statement) and DRAWING.search("\n".join(own))
        folded += len(own) if imports or draws else 0
    return "hide-input" if 2 * folded >= lines else ""


def folding_faults(path: Path) -> list[str]:
    """Every cell of a chapter that the rule folds has its tag."""
    faults = []
    for cell in nbformat.read(path, as_version=4).cells:
        if cell.cell_type != "code":
            continue
        wanted = wanted_tag(cell.source, "figure" in cell.metadata.get("mystnb", {}))
        if wanted and wanted not in cell.metadata.get("tags", []):
            faults.append(f"{path.name}: cell {cell.id} needs the tag {wanted!r}")
    return faults
