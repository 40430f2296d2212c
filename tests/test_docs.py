"""The site: the page of settings is current, and no page asks another server for anything."""

import runpy

import pytest
from entry import PROJECT


def test_the_page_of_settings_is_current():
    page = runpy.run_path(str(PROJECT / "docs/config.py"))["page"]()
    written = (PROJECT / "docs/config.md").read_text()
    assert written == page, "python docs/config.py writes it anew"


@pytest.mark.parametrize(
    ("text", "asks"),
    [
        ('<script src="https://cdn.example/x.js">', True),
        ("<img alt='' src='//cdn.example/x.png'>", True),
        ('<link rel="stylesheet" href="http://cdn.example/x.css">', True),
        ("@font-face { src: url(https://cdn.example/x.woff2) }", True),
        ('<script src="_static/x.js">', False),
        ('<a href="https://pytorch.org">', False),
    ],
)
def test_a_page_that_asks_another_server_is_found(text, asks):
    found = runpy.run_path(str(PROJECT / "docs/conf.py"))["REQUESTS"].search(text)
    assert bool(found) == asks
