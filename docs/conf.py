"""Sphinx configuration: Markdown through myst, nothing that needs the network."""

from importlib.metadata import version as _version

project = "realmcheck"
author = "The realmcheck authors"
copyright = "The realmcheck authors"
release = version = _version("realmcheck")

extensions = ["myst_parser"]
source_suffix = {".md": "markdown"}
exclude_patterns = ["_build"]
myst_heading_anchors = 4  # links to headings, spelled as code hosts spell them

html_theme = "alabaster"
html_theme_options = {"description": "Conformance suite for Arm's CCA", "page_width": "70rem"}
