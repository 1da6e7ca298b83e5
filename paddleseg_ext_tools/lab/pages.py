"""HTML pages from the templates of this package, which share one style."""

from pathlib import Path

import jinja2


def render(template: str, **values: object) -> str:
    """Fills the template at a path below `paddleseg_ext_tools`; a name in the template without a value is an error."""
    loader = jinja2.FileSystemLoader(Path(__file__).resolve().parents[1])
    environment = jinja2.Environment(
        loader=loader, autoescape=True, trim_blocks=True, lstrip_blocks=True, undefined=jinja2.StrictUndefined
    )
    return environment.get_template(template).render(**values)
