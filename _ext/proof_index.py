"""The index of proofs: titles in place of labels, a group a kind, with the chapter of each."""

from collections import defaultdict

from docutils import nodes
from sphinx.domains import IndexEntry
from sphinx_proof.domain import ProofIndex


def note_titles(app, doctree):
    """Keep each statement's title beside what sphinx-proof keeps of it (event doctree-read)."""
    known = getattr(app.env, "proof_list", {})
    for node in doctree.findall(lambda node: isinstance(node, nodes.Element)):
        if node.get("label") in known and isinstance(node.next_node(), nodes.title):
            title = node.next_node().astext().strip()
            known[node["label"]]["title"] = title.removeprefix("(").removesuffix(")")


def by_kind(self, docnames=None):
    """What the page shows: [(kind, its statements)], as the documents were read."""
    env, groups = self.domain.env, defaultdict(list)
    for label, about in getattr(env, "proof_list", {}).items():  # none where none is stated
        docname = about["docname"]
        chapter, title = env.titles[docname].astext(), about.get("title") or label
        entry = IndexEntry(title, 0, docname, label, chapter, "", "")
        groups[about["realtype"].capitalize()].append(entry)
    return sorted(groups.items()), True


def setup(app):
    ProofIndex.generate = by_kind
    app.connect("doctree-read", note_titles)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
