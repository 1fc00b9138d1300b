"""The site: `pip install -e '.[docs]' && sphinx-build -W docs docs/_build`."""

project = "distill"
author = "the distill team"
extensions = ["myst_parser"]
myst_enable_extensions = ["colon_fence"]
myst_heading_anchors = 3
html_theme = "furo"
html_title = "distill"
exclude_patterns = ["_build"]
html_show_copyright = False
nitpicky = True
