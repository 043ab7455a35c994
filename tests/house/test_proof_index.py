"""The index of statements: titles in place of labels, a group a kind."""

import sys
from types import SimpleNamespace

from book import BOOK
from docutils import nodes

sys.path.append(str(BOOK / "_ext"))

import proof_index


def test_statements_stand_by_kind_with_their_titles_and_chapters():
    node = nodes.admonition("", nodes.title("", "(Two heads are enough (derived))"), label="a")
    about = dict(docname="heads", realtype="proposition")
    env = SimpleNamespace(
        proof_list={"a": about, "b": about | {"realtype": "lemma"}},
        titles={"heads": nodes.title("", "What heads buy")},
    )
    doctree = nodes.section("", node)
    proof_index.note_titles(SimpleNamespace(env=env), doctree)
    found, collapsed = proof_index.by_kind(SimpleNamespace(domain=SimpleNamespace(env=env)))
    assert collapsed and [kind for kind, _ in found] == ["Lemma", "Proposition"]
    (lemma,), (proposition,) = (entries for _, entries in found)
    assert proposition.name == "Two heads are enough (derived)"
    assert (proposition.docname, proposition.anchor) == ("heads", "a")
    assert proposition.extra == "What heads buy" and lemma.name == "b"
