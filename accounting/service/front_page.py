"""The service's front page: what there is to ask for, made from its own OpenAPI description."""

from __future__ import annotations

from collections.abc import Mapping
from importlib.resources import files
from typing import Any

from jinja2 import Environment, StrictUndefined


def api_page(openapi: Mapping[str, Any]) -> str:
    """Render an OpenAPI description as one plain page: no script, nothing loaded from elsewhere."""
    operations = [
        {
            "method": method.upper(),
            "path": path,
            "text": operation.get("description", ""),
            "parameters": operation.get("parameters", []),
        }
        for path, methods in openapi["paths"].items()
        for method, operation in methods.items()
    ]
    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    template = environment.from_string(files("accounting.service").joinpath("front_page.html").read_text("utf-8"))
    return template.render(info=openapi["info"], operations=operations)
