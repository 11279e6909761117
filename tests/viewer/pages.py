"""Every page there is, for the tests that hold for all of them. A page that is missing here fails a test."""

from __future__ import annotations

# Of the history in ``support.fill``.
PAGES = (
    "",
    "?q=type:chat",
    "?q=trace_cont:%3E5",
    "?q=type:nothing",
    "?col=metadata.source&sort=-cost&live=5",
    "s?id=chat-1",
    "s?id=chat-1&view=conversation",
    "s?id=chat-1&view=conversation&only=messages",
    "s?id=chat-1&view=metrics",
    "s?id=chat-1&view=raw",
    "turn?id=chat-1&n=2",
    "turn?id=chat-1&n=3",
    "groups",
    "groups?by=type&by=prompt_version&order=-cost",
    "groups?by=tpye",
    "user?id=u_11111111111111111111111111111111&window=all",
    "user?id=u_11111111111111111111111111111111&q=trace_cont:%3E5",
    "analytics",
    "analytics?q=trace_cont:%3E5",
    "analytics?q=type:nothing",
    "analytics/engagement",
    "analytics/journeys",
    "analytics/journeys?step=2",
    "analytics/funnel",
    "analytics/funnel?steps=greet+%3E+search",
    "analytics/funnel?steps=greet+%3E",
    "analytics/retention",
    "compare",
    "compare?by=type&a=chat&b=review&metric=tokens&p95=1&split=50:50",
    "compare?a=v2&b=v9",
    "compare?metric=price",
    "help",
    "nothing/here",
)
# What is no page for people.
FILES = (
    "changes?since=",
    "export.csv",
    "export.jsonl",
    "export.otlp.jsonl",
    "api/sessions",
    "api/session?id=chat-1",
    "api/check?q=nope:1",
    "api/groups?by=metadata.source",
    "api/user?id=u_11111111111111111111111111111111",
    "api/analytics",
    "api/analytics/engagement",
    "api/analytics/journeys",
    "api/analytics/funnel?steps=greet%3Esearch",
    "api/analytics/retention",
    "api/compare?by=type&a=chat&b=review",
)
EVERY = (*PAGES, *FILES)


def place(path: str) -> str:
    """Return which page a path names."""
    return path.partition("?")[0]
