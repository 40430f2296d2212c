"""The site: `make docs` builds it into docs/_build/html, and any warning is an error."""

import re
from pathlib import Path

from sphinx.errors import ExtensionError

project = html_title = "Deeper"
extensions = ["myst_nb", "sphinx.ext.githubpages"]
exclude_patterns = ["_build"]
highlight_language = "none"
html_theme = "furo"
html_static_path = ["site.css"]
html_css_files = ["site.css"]
html_copy_source = html_show_copyright = False
myst_heading_anchors = 3

nb_execution_mode = "cache"  # docs/notebooks is a link; a notebook runs again when it has changed
nb_execution_in_temp = True
nb_execution_raise_on_error = True
nb_execution_timeout = 120
nb_merge_streams = True

REQUESTS = re.compile(
    r"<(?:script|link|img|iframe|source|object|embed)\b[^>]*\b(?:src|href|data)=[\"'](?:https?:)?//[^>]*"
    r"|url\([\"']?(?:https?:)?//[^)]*|@import[^;]*//[^;]*"
)


def require_no_requests(app, error):
    """Looking at a page must ask no other server for scripts, styles, fonts or images."""
    pages = Path(app.outdir).rglob("*.*") if app.builder.format == "html" and not error else []
    for file in pages:
        if file.suffix in (".html", ".css") and (found := REQUESTS.search(file.read_text())):
            raise ExtensionError(f"{file}: asks another server: {found[0]}")


def setup(app):
    app.connect("build-finished", require_no_requests)
