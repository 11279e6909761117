"""Each test begins outside of any session, in a process that nobody has configured."""

from __future__ import annotations

import pytest

from tests.browser.conftest import chromium
from tests.hierarchy.conftest import _outside, script

__all__ = ["_outside", "_streamlit", "chromium", "script"]


@pytest.fixture(autouse=True)
def _streamlit(monkeypatch: pytest.MonkeyPatch) -> None:
    """
    Skip where it is not installed, and let ``AppTest`` be quick.

    A run ends in a collection of all that other tests have imported, and a page that is opened begins with a look into
    every installed distribution, for components that no page of ours has.
    """
    streamlit = pytest.importorskip("streamlit", reason="not installed: pip install 'session-mw[streamlit]' runs these")
    streamlit.config.set_option("runner.postScriptGC", False)
    try:
        monkeypatch.setattr("streamlit.components.v2.manifest_scanner.scan_component_manifests", list)
    except (AttributeError, ImportError):  # earlier versions do not look
        pass
