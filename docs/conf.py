"""How Sphinx builds the site from this folder: `make docs`."""

import sys
from pathlib import Path

import unstick

sys.path.insert(0, str(Path(__file__).parent))

project = "unstick"
author = "the unstick authors"
version = release = unstick.__version__

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx_click", "sphinx_copybutton", "generated"]
exclude_patterns = ["_static"]

html_theme = "furo"
html_title = f"unstick {release}"
html_static_path = ["_static"]
html_css_files = ["unstick.css"]
html_show_sphinx = False
html_copy_source = False
html_show_copyright = False
html_theme_options = {"navigation_with_keys": True, "top_of_page_buttons": []}

# Formulas are written in Unicode, so nothing has to be typeset.
myst_heading_anchors = 3
default_role = "code"
smartquotes = False  # it would make a dash of the -- in front of options
highlight_language = "sh"  # of indented blocks
# What is pasted into a shell has no prompt in front and no output behind.
copybutton_prompt_text = "$ "
copybutton_exclude = ".linenos, .gp, .go"

autodoc_member_order = "bysource"
autodoc_typehints = "signature"
autodoc_typehints_format = "short"
python_display_short_literal_types = True
python_maximum_signature_line_length = 88
