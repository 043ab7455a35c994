"""The letters from A to Z above a glossary, each a link to its first term."""

from docutils import nodes
from sphinx import addnodes
from sphinx.transforms import SphinxTransform


class Letters(SphinxTransform):
    """Runs after the glossary has sorted itself, and before Sphinx resolves links."""

    default_priority = 860

    def apply(self):
        # A list: what is inserted while one walks would be walked again, for ever.
        for glossary in list(self.document.findall(addnodes.glossary)):
            line = nodes.paragraph(classes=["letters"])
            for letter, term in first_terms(glossary).items():
                line += nodes.reference("", letter, refid=term["ids"][0], internal=True)
                line += nodes.Text(" ")
            glossary.parent.insert(glossary.parent.index(glossary), line)


def first_terms(glossary: nodes.Element) -> dict[str, nodes.term]:
    """{a letter: the first term that begins with it}, in the order of the page."""
    found = {}
    for term in glossary.findall(nodes.term):
        found.setdefault(term.astext()[0].upper(), term)
    return found


def setup(app):
    app.add_transform(Letters)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
