"""Small repairs of the tools: no dead launch button, labels that screen readers accept, quiet
kernels."""

import re

import zmq
from jupyter_client.manager import KernelManager


def drop_dead_launch_buttons(app, config):
    """Without a repository's URL a launch button would lead nowhere; with it, the repository
    has a button too (event config-inited)."""
    options = config.html_theme_options
    if options.get("repository_url"):
        options["use_repository_button"] = True
        return
    for option in ("launch_buttons", "repository_url"):
        options.pop(option, None)


def repair_body(app, pagename, templatename, context, doctree):
    """Mend what accessibility checkers reject in a page's text (event html-page-context).

    A folded cell's label must not differ from the words it shows, a bibliography entry is a
    list item, and an id stands once: boxes that nothing refers to get none.
    """
    body = context.get("body", "")
    body = re.sub(r' id="(?:proof|exercise|solution)-content"', "", body)
    body = body.replace('"proof admonition" id="proof"', '"proof admonition unnumbered"')
    body = body.replace('<summary aria-label="Toggle hidden content">', "<summary>")
    context["body"] = body.replace('role="doc-biblioentry"', 'role="listitem"')


def encrypt_kernels():
    """Encrypt the sockets to the kernels: each kernel without puts a warning into the build's
    log."""
    if zmq.has("curve"):
        KernelManager.transport_encryption.default_value = "auto"


def setup(app):
    encrypt_kernels()
    app.connect("config-inited", drop_dead_launch_buttons)
    app.connect("html-page-context", repair_body)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
