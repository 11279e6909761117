"""One Chromium for the tests of a file, one site of empty pages, and an API for each test."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from opentelemetry import propagate

from session_mw._core import pace
from session_mw.telemetry import install, notices
from tests.browser.chromium import Chromium, Visitor, find_chromium
from tests.browser.sites import Api, make_certificate, pages, serving_api
from tests.integrations.servers import serve


# For a module and no longer: its processes and threads are nothing that other tests should find.
@pytest.fixture(scope="module")
def chromium() -> Iterator[Chromium]:
    """A browser that runs until the last test of the file is done."""
    pytest.importorskip("playwright", reason="playwright is not installed")
    path = find_chromium()
    if path is None:
        pytest.skip("no chromium here: install one, or name it in SESSION_MW_TEST_CHROMIUM")
    browser = Chromium(path)
    yield browser
    browser.stop()


@pytest.fixture(scope="session")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """What servers need for https."""
    if shutil.which("openssl") is None:
        pytest.skip("no openssl here to make a certificate with")
    return make_certificate(tmp_path_factory.mktemp("certificate"))


@pytest.fixture(scope="module")
def page(certificate: dict[str, str]) -> Iterator[Callable[[str], str]]:
    """Give the origin of an empty page on a host."""
    with serve(pages, **certificate) as port:
        yield lambda host: f"https://{host}:{port}"


@pytest.fixture
def visitor(chromium: Chromium) -> Iterator[Visitor]:
    """Somebody who has never been anywhere."""
    with chromium.visitor() as found:
        yield found


@pytest.fixture(autouse=True)
def _put_back(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Global state that the middleware touches is put back, and what is due is done at once."""
    monkeypatch.setattr(pace, "SHARE", 0)
    textmap = propagate.get_global_textmap()
    notices.reset()
    installed, install._installed = install._installed, install._Installed()
    yield
    install._installed = installed
    notices.reset()
    propagate.set_global_textmap(textmap)


@pytest.fixture
def own_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The secret of ``insecure_dev`` is kept in a folder of this test."""
    monkeypatch.setenv("HOME", str(tmp_path))


@pytest.fixture
def make_api(certificate: dict[str, str]) -> Iterator[Callable[..., Api]]:
    """Serve APIs until the test ends: ``make_api(cors, order, **settings)``; over plain http with ``http=True``."""
    with ExitStack() as stack:

        def make(
            cors: dict[str, Any] | None = None, order: str = "outside", *, http: bool = False, **settings: Any
        ) -> Api:
            return stack.enter_context(serving_api({} if http else certificate, cors, order, **settings))

        yield make
