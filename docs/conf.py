"""How the documentation is built: ``make docs``."""

import sys
from importlib import metadata
from pathlib import Path

HERE = Path(__file__).parent
sys.path[:0] = [str(HERE.parent), str(HERE)]

import made  # noqa: E402

import baselines  # noqa: E402

sys.modules["buir.baselines"] = baselines  # as `from buir import baselines` names it

project = "buir"
author = "The buir developers"
copyright = author
release = version = metadata.version("buir")

extensions = [
    "myst_nb",
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "mathml",
    "numpydoc",
    "sphinx_copybutton",
]
templates_path = ["_templates"]
exclude_patterns = ["made/*", "_templates/*"]
source_suffix = {".md": "myst-nb", ".ipynb": "myst-nb", ".rst": "restructuredtext"}

# As they were committed, with their outputs; `make notebooks` runs them.
nb_execution_mode = "off"
nb_output_stderr = "remove"

myst_enable_extensions = ["dollarmath", "amsmath", "colon_fence", "deflist"]
myst_heading_anchors = 3
# Reports begin below the heading of their page.
suppress_warnings = ["myst.header"]

default_role = "py:obj"
autosummary_generate = True
autodoc_typehints = "none"
autodoc_class_signature = "separated"
autodoc_member_order = "bysource"
numpydoc_show_class_members = False
numpydoc_class_members_toctree = False

html_math_renderer = "mathml"
html_static_path = ["_static"]
html_css_files = ["buir.css"]
html_theme = "pydata_sphinx_theme"
html_title = f"buir {release}"
html_show_sourcelink = False
html_copy_source = False
html_theme_options = {
    "navbar_align": "left",
    "show_toc_level": 2,
    "navigation_with_keys": False,
    "footer_start": ["copyright"],
    "footer_end": [],
    "secondary_sidebar_items": ["page-toc"],
}
html_sidebars = {"index": [], "mlflow": []}  # pages without a section
html_context = {"default_mode": "light"}


def setup(app: object) -> None:
    """Make the pages that come from the code before autosummary looks for what it has to write."""
    made.write_pages(HERE)
