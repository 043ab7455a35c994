"""Small repairs of the theme: no dead launch button, and labels that screen readers accept."""

import re


def drop_dead_launch_buttons(app, config):
    """Without a repository URL a launch button would lead nowhere (event config-inited)."""
    if not config.html_theme_options.get("repository_url"):
        for option in ("launch_buttons", "repository_url"):
            config.html_theme_options.pop(option, None)


def repair_roles(app, pagename, templatename, context, doctree):
    """`doc-biblioentry` is deprecated: a bibliography is a list of items (event html-page-context)."""
    if "body" in context:
        context["body"] = re.sub(r'role="doc-biblioentry"', 'role="listitem"', context["body"])


def setup(app):
    app.connect("config-inited", drop_dead_launch_buttons)
    app.connect("html-page-context", repair_roles)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
