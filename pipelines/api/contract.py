"""openapi.yaml: written by hand, first; served as JSON, and as a page that needs no other host.

The page is rendered here, once, into plain HTML: no script, no font, no image, so nothing has to be loaded.
"""

from __future__ import annotations

import base64
import hashlib
import html
import json
from collections.abc import Iterable, Mapping
from functools import cache
from pathlib import Path
from typing import Any

import yaml

FILE = Path(__file__).with_name("openapi.yaml")

_STYLE = """
body { max-width: 56rem; margin: 2rem auto; padding: 0 1rem; font: 1rem/1.5 system-ui, sans-serif; color:
#222; } h2 { margin-top: 3rem; padding-top: 1rem; border-top: 1px solid #ccc; } code, pre { font-family:
ui-monospace, monospace; font-size: .9em; background: #f4f4f4; } pre { padding: .8rem; overflow-x: auto; }
table { border-collapse: collapse; width: 100%; } th, td { text-align: left; vertical-align: top; padding:
.3rem .6rem; border-bottom: 1px solid #ddd; }
"""
_STYLE_SHA256 = base64.b64encode(hashlib.sha256(_STYLE.encode()).digest()).decode()
# nothing may be loaded or run, by anybody's mistake; the one style sheet is named by its hash
PAGE_POLICY = (
    b"content-security-policy",
    f"default-src 'none'; style-src 'sha256-{_STYLE_SHA256}'; ".encode() + b"base-uri 'none'; frame-ancestors 'none'",
)

Document = Mapping[str, Any]


@cache
def load() -> Document:
    """The contract as written, without the `x-` parts that are only there to be repeated in others."""
    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # five times as fast, where PyYAML was built with it
    document: Document = yaml.load(FILE.read_text(encoding="utf-8"), Loader=loader)
    return {name: value for name, value in document.items() if not name.startswith("x-")}


def served_at(document: Document, public_url: str | None) -> Document:
    """The contract with the address of its server, where that is known.

    Without, it has no `servers`: that means the root of the host that it was read from, and generators of clients that
    join addresses as texts make `//api` of a server `/`.
    """
    return document if public_url is None else {**document, "servers": [{"url": public_url}]}


def as_json(document: Document) -> bytes:
    """Return the body of /openapi.json."""
    return json.dumps(document, ensure_ascii=False, separators=(",", ":")).encode()


def as_html(document: Document) -> bytes:
    """Return the body of /docs."""
    info = document["info"]
    operations = [
        (method.upper(), path, operation)
        for path, methods in document["paths"].items()
        for method, operation in methods.items()
    ]
    contents = "".join(
        f'<li><a href="#{operation["operationId"]}"><code>{method} {_text(path)}</code></a> '
        f"{_text(operation['summary'])}</li>"
        for method, path, operation in operations
    )
    body = "".join(_operation(document, method, path, operation) for method, path, operation in operations)
    title = _text(info["title"])
    page = f"""<!doctype html>
<html lang="en">
<head><meta charset="utf-8"><meta name="viewport" content="width=device-width"><title>{title}</title>
<style>{_STYLE}</style></head>
<body>
<h1>{title} <small>{_text(info["version"])}</small></h1>
<p>{_text(info["summary"])}</p>
{_paragraphs(info["description"])}
<p>For machines: <a href="openapi.json">openapi.json</a>.</p>
<ul>{contents}</ul>
{body}
</body></html>
"""
    return page.encode()


def resolved(document: Document, node: Mapping[str, Any]) -> Mapping[str, Any]:
    """The node, or what its `$ref` points at within the document."""
    while "$ref" in node:
        target: Any = document
        for step in node["$ref"].removeprefix("#/").split("/"):
            target = target[step]
        node = target
    return node


def _operation(document: Document, method: str, path: str, operation: Mapping[str, Any]) -> str:
    parts = [
        f'<h2 id="{operation["operationId"]}"><code>{method} {_text(path)}</code></h2>',
        f"<p><strong>{_text(operation['summary'])}</strong></p>",
        _paragraphs(operation.get("description", "")),
    ]
    if operation.get("security"):
        optional = " (optional)" if {} in operation["security"] else ""
        parts.append(f"<p>Authorization: <code>Bearer &lt;token&gt;</code>{optional}</p>")
    parameters = [resolved(document, parameter) for parameter in operation.get("parameters", ())]
    if parameters:
        parts.append("<h3>Parameters</h3>" + _table(_parameter_row(parameter) for parameter in parameters))
    responses = {status: resolved(document, response) for status, response in operation["responses"].items()}
    parts.append("<h3>Responses</h3>" + _table(_response_row(status, one) for status, one in responses.items()))
    parts.extend(_examples(status, response) for status, response in responses.items())
    return "\n".join(parts)


def _parameter_row(parameter: Mapping[str, Any]) -> tuple[str, str, str]:
    constraints = ", ".join(f"{key} {value}" for key, value in parameter["schema"].items())
    return (
        f"<code>{_text(parameter['name'])}</code>",
        _text(parameter["in"]),
        _text(f"{parameter.get('description', '')} ({constraints})"),
    )


def _response_row(status: str, response: Mapping[str, Any]) -> tuple[str, str, str]:
    headers = ", ".join(f"<code>{_text(name)}</code>" for name in response.get("headers", ()))
    return f"<code>{status}</code>", _text(response["description"]), headers


def _examples(status: str, response: Mapping[str, Any]) -> str:
    parts = []
    for content in response.get("content", {}).values():
        named = content.get("examples", {})
        if "example" in content:
            named = {"": {"summary": "", "value": content["example"]}}
        for example in named.values():
            shown = json.dumps(example["value"], ensure_ascii=False, indent=2)
            parts.append(f"<p><code>{status}</code> {_text(example['summary'])}</p><pre>{_text(shown)}</pre>")
    return "".join(parts)


def _table(rows: Iterable[tuple[str, ...]]) -> str:
    body = "".join("<tr>" + "".join(f"<td>{cell}</td>" for cell in row) + "</tr>" for row in rows)
    return f"<table>{body}</table>"


def _paragraphs(text: str) -> str:
    return "".join(f"<p>{_text(paragraph)}</p>" for paragraph in text.split("\n\n") if paragraph)


def _text(text: str) -> str:
    return html.escape(text)
