"""What the plain pages share: their look, and a policy that lets nothing in but what is written here."""

from __future__ import annotations

import hashlib
from base64 import b64encode

from starlette.responses import HTMLResponse

STYLE = """
:root { color-scheme: light dark; font: 16px/1.5 system-ui, sans-serif; }
body { max-width: 56rem; margin: 3rem auto; padding: 0 1rem; }
form { display: flex; flex-direction: column; gap: .75rem; max-width: 26rem; }
input, button { font: inherit; padding: .5rem .75rem; border: 1px solid; border-radius: .4rem; }
button { cursor: pointer; }
code, pre { font: .9em/1.4 ui-monospace, monospace; }
pre { overflow-x: auto; padding: .75rem; border: 1px solid #8886; border-radius: .4rem; }
table { border-collapse: collapse; width: 100%; }
td, th { text-align: left; vertical-align: top; padding: .25rem .75rem .25rem 0; border-bottom: 1px solid #8884; }
summary { cursor: pointer; padding: .4rem 0; }
.wrong { color: #c0392b; }
"""


def page(title: str, body: str, script: str = "", status: int = 200, headers: dict[str, str] | None = None) -> HTMLResponse:
    """An HTML page of this body (HTML); the browser runs this script and no other."""
    policy = [
        "default-src 'none'",
        f"style-src '{_hash(STYLE)}'",
        *([f"script-src '{_hash(script)}'"] if script else []),
        "base-uri 'none'; form-action 'self'; frame-ancestors 'none'",
    ]
    text = (
        f'<!doctype html><html lang="en"><head><meta charset="utf-8"><title>{title}</title>'
        f'<meta name="viewport" content="width=device-width, initial-scale=1"><style>{STYLE}</style></head>'
        f"<body><main>{body}</main>{f'<script>{script}</script>' if script else ''}</body></html>"
    )
    return HTMLResponse(text, status, {"Content-Security-Policy": "; ".join(policy), **(headers or {})})


def _hash(text: str) -> str:
    return f"sha256-{b64encode(hashlib.sha256(text.encode()).digest()).decode()}"
