"""The description of the API as a page: made from the document itself, without a script and without anything from elsewhere."""

from __future__ import annotations

import json
from html import escape
from typing import Any

from fastapi import APIRouter, FastAPI
from starlette.responses import Response

from dashboard.access.pages import page

INTRODUCTION = """<h1>Taskyard's API</h1>
<p>Show a token with each request: <code>Authorization: Bearer TOKEN</code>. The read-only token is for <code>GET</code>.
Every refusal is <code>application/problem+json</code>. The same as a document: <a href="/openapi.json">/openapi.json</a>.</p>
<pre>curl -H "Authorization: Bearer $TOKEN" -H "Content-Type: application/json" \\
  -d '{"name": "square", "args": [7]}' http://127.0.0.1:8080/api/v1/tasks</pre>"""


def docs_router(app: FastAPI) -> APIRouter:
    """``/docs``."""
    router = APIRouter(include_in_schema=False)

    @router.get("/docs")
    async def docs() -> Response:
        return page("API: Taskyard", render(app.openapi()))

    return router


def render(document: dict[str, Any]) -> str:
    """HTML of an OpenAPI document."""
    operations = [
        _operation(method, path, operation)
        for path, methods in document["paths"].items()
        for method, operation in methods.items()
    ]
    schemas = [
        f'<details id="{escape(name)}"><summary><code>{escape(name)}</code> {escape(schema.get("description", ""))}</summary>'
        f"{_fields(schema)}</details>"
        for name, schema in sorted(document["components"]["schemas"].items())
    ]
    return f"{INTRODUCTION}<h2>Operations</h2>{''.join(operations)}<h2>Bodies</h2>{''.join(schemas)}"


def _operation(method: str, path: str, operation: dict[str, Any]) -> str:
    parameters = "".join(
        f"<tr><td><code>{escape(one['name'])}</code></td><td>{escape(one['in'])}</td><td>{_type(one['schema'])}</td>"
        f"<td>{escape(one.get('description', ''))}</td></tr>"
        for one in operation.get("parameters", [])
    )
    body = operation.get("requestBody", {}).get("content", {}).get("application/json", {}).get("schema")
    answers = "".join(
        f"<tr><td>{escape(status)}</td><td>{escape(answer['description'])}</td><td>{_answer(answer)}</td></tr>"
        for status, answer in operation["responses"].items()
    )
    table = f"<table>{parameters}</table>" if parameters else ""
    sent = f"<p>Body: {_type(body)}</p>" if body else ""
    what = escape(operation.get("description", ""))
    return (
        f"<details><summary><b>{escape(method.upper())}</b> <code>{escape(path)}</code> {what}</summary>"
        f"{table}{sent}<table>{answers}</table></details>"
    )


def _answer(answer: dict[str, Any]) -> str:
    return ", ".join(_type(content.get("schema", {})) for content in answer.get("content", {}).values())


def _fields(schema: dict[str, Any]) -> str:
    needed = schema.get("required", [])
    rows = "".join(
        f"<tr><td><code>{escape(name)}</code>{' (needed)' if name in needed else ''}</td><td>{_type(field)}</td>"
        f"<td>{escape(field.get('description', ''))}{_default(field)}</td></tr>"
        for name, field in schema.get("properties", {}).items()
    )
    return f"<table>{rows}</table>"


def _default(field: dict[str, Any]) -> str:
    return f" Default: <code>{escape(json.dumps(field['default']))}</code>." if "default" in field else ""


def _type(schema: dict[str, Any]) -> str:
    if "$ref" in schema:
        name = escape(schema["$ref"].rpartition("/")[2])
        return f'<a href="#{name}">{name}</a>'
    if "anyOf" in schema:
        return " or ".join(map(_type, schema["anyOf"]))
    if "enum" in schema:
        return " | ".join(f"<code>{escape(str(value))}</code>" for value in schema["enum"])
    if schema.get("type") == "array":
        return f"list of {_type(schema.get('items', {}))}"
    return escape(str(schema.get("type", "any")))
