"""MyST as plain Markdown, so that JupyterLab shows what the published page shows: directives
become headings, quotes and folds, roles become the words, numbers and titles that they stand
for."""

import re
from html import unescape

from editions.contents import extensions
from editions.labels import (
    EQUATION,
    FENCE,
    OPENS,
    TARGET,
    cited,
    name_of,
    names,
    options_of,
    parts,
    title_of,
    up_to,
)
from iclbook.errors import InputError

ROLE = re.compile(r"\{([a-z][\w:-]*)\}`([^`]+)`")
LINK = re.compile(r"(?<!!)\[((?:[^\[\]]|\[[^\[\]]*\])+)\]\(([^()\s]+)\)")
PAGE = re.compile(r"(?:\.\./)?(?:[\w-]+/)*\w+\.(?:ipynb|md)(?:#.*)?")
RAISED = str.maketrans("0123456789−", "⁰¹²³⁴⁵⁶⁷⁸⁹⁻")
NUMBERS = ("verdict", "measured", "stored")


def plain(text: str, page: str) -> str:
    """The Markdown `text` of a page, such as ridge/heads, without anything that is MyST's own.

    Raises InputError for a directive or role that has no plain form, and for a label, page,
    source, claim or table that does not exist.
    """
    return re.sub(r"\n{3,}", "\n\n", "\n".join(_blocks(text.splitlines(), page))).strip("\n")


def words(text: str, page: str) -> str:
    """One paragraph: roles and links give way to what they stand for."""
    text = ROLE.sub(lambda role: _role(role[1], " ".join(role[2].split()), page), text)
    return LINK.sub(lambda link: _link(link[1], link[2], page), text)


def number(role: str, text: str) -> str:
    """What the site's own role of this name shows, as plain text: HTML's powers and spaces as
    characters."""
    extensions()
    import from_ledger  # with Sphinx: not needed by whoever only lists labels

    html = getattr(from_ledger, role)(text, "")
    html = re.sub(r"<sup>(.*?)</sup>", lambda power: power[1].translate(RAISED), html)
    return unescape(re.sub(r"<[^>]+>", "", html)).strip()


def _role(name: str, text: str, page: str) -> str:
    if name in NUMBERS:
        return number(name, text)
    if name == "cite":
        return cited(text)
    shown = re.fullmatch(r"(.+?) ?<([^<>]+)>", text)
    target = shown[2] if shown else text
    if name == "doc":
        return shown[1] if shown else f"*{title_of(target, page)}*"
    if name == "term":
        return shown[1] if shown else text
    if name in ("prf:ref", "ref", "numref", "eq"):
        return _named(shown[1], target) if shown else name_of(target)
    raise InputError(f"{page}: no plain form of the role {name!r}")


def _named(text: str, label: str) -> str:
    """A link's text; what it leads to stands behind it where that has a number."""
    numbered = re.match(r"\(?(?:[A-Z][a-z]+\.? )?[\d.]*\d", name_of(label))
    if numbered and re.fullmatch("(an? |the )?exercise", text.lower()):
        return numbered[0]
    return f"{text} ({numbered[0].strip('(')})" if numbered else text


def _link(text: str, target: str, page: str) -> str:
    if target in names():
        return _named(text, target)
    if PAGE.fullmatch(target):
        title = title_of(target, page)
        return text if "#" in target or title == text else f"{text} (*{title}*)"
    return f"[{text}]({target})"


def _blocks(lines: list[str], page: str) -> list[str]:
    """Lines of MyST as lines of plain Markdown."""
    done, rest, paragraph = [], list(lines), []

    def end() -> None:
        done.extend(words("\n".join(paragraph), page).split("\n") if paragraph else [])
        paragraph.clear()

    while rest:
        line = rest.pop(0)
        opened, fence = OPENS.match(line), FENCE.match(line)
        if not (opened or fence or TARGET.match(line) or line.strip() == "$$"):
            paragraph.append(line)
            continue
        end()
        if line.strip() == "$$":
            done += _equation(line, rest)
        elif fence:
            inner = up_to(fence[1], rest, page)
            closed = [line, *inner, fence[1]]
            done += _directive(opened, inner, page) if opened else closed
    end()
    return done


def _equation(first: str, rest: list[str]) -> list[str]:
    """A displayed equation, its label as a tag with the number of the page."""
    done = [first]
    while rest:
        line = rest.pop(0)
        if label := EQUATION.match(line):
            return [*done, rf"\tag{{{name_of(label[1]).strip('()')}}}", "$$"]
        done.append(line)
        if line.strip() == "$$":
            return done
    raise InputError("a displayed equation is not closed")


def _directive(opened: re.Match, inner: list[str], page: str) -> list[str]:
    kind, title = opened[2], words(opened[3], page)
    options, body = options_of(inner)
    label = options.get("label") or options.get("name")
    if kind in ("index", "exercise-end", "solution-end"):
        return []
    body = _blocks(body, page)
    if kind in ("exercise", "exercise-start"):
        return ["", f"### {name_of(label)}", "", f"Label: `{label}`", "", *body]
    if kind in ("solution", "solution-start"):
        return ["", f"#### Solution of {name_of(title)}", "", *body]
    if kind == "hand":
        picture = f"![{options['alt']}]({title}.svg)"
        return ["", picture, "", f"*{name_of(label)}.* {' '.join(body)}", ""]
    if kind == "prf:proof":
        return _proof(f"**Proof{f' ({title})' if title else ''}.**", body)
    if kind.startswith("prf:"):
        name = name_of(label) if label else kind[4:].capitalize()
        return _quote(f"**{name}: {title}**" if title else f"**{name}**", body)
    if kind == "dropdown" or "dropdown" in options.get("class", ""):
        summary = f"<details><summary>{title}</summary>"
        return ["", summary, "", *body, "", "</details>", ""]
    if kind in ("admonition", "note", "warning"):
        return _quote(f"**{title or kind.capitalize()}**", body)
    raise InputError(f"{page}: no plain form of the directive {kind!r}")


def _proof(head: str, body: list[str]) -> list[str]:
    """A proof; its head and its end stand in its first and last paragraph where they can."""
    text = "\n".join(body).strip("\n")
    before = " " if re.match(r"[^\s$*>#|`-]|\$[^$]", text) else "\n\n"
    after = "\n\n" if re.search(r"(?:^|\n)(?:\$\$|[*>|`-][^\n]*)$", text) else " "
    return ["", *f"{head}{before}{text}{after}∎".split("\n"), ""]


def _quote(head: str, body: list[str]) -> list[str]:
    """A quote block. A displayed equation takes one line in it: JupyterLab would read the
    marks of a quote as a part of the equation."""
    text = re.sub(
        r"(?ms)^\$\$$(.*?)^\$\$$",
        lambda found: f"\n$$ {' '.join(found[1].split())} $$\n",
        "\n".join(body),
    )
    lines = re.sub(r"\n{3,}", "\n\n", f"{head}\n\n{text}").strip("\n").splitlines()
    return ["", *(f"> {line}".rstrip() for line in lines), ""]


def page_text(page: str) -> str:
    """A Markdown page of the book, plain, without its front matter."""
    return plain(re.sub(r"(?s)\A---\n.*?\n---\n", "", page_source(page)), page) + "\n"


def page_source(page: str) -> str:
    """The MyST of a page, a notebook's Markdown cells one after another."""
    return "\n\n".join(text for kind, text, _ in parts(page) if kind == "markdown")
