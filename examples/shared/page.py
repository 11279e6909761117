"""The chat page: one HTML file that asks nothing of other servers."""

from __future__ import annotations

from pathlib import Path

PAGE = Path(__file__).with_name("chat.html").read_text("utf-8")

# The page needs its own inline style and script and the server it came from; nothing else may run or load.
PAGE_HEADERS = {
    "Content-Security-Policy": (
        "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; connect-src 'self'; "
        "img-src data:; base-uri 'none'; form-action 'self'; frame-ancestors 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
}
