"""Settings for development: plain http, and one secret for all workers of this machine."""

from __future__ import annotations

import hashlib
import os
import stat
import subprocess
import sys
import tempfile
import threading
import warnings
from pathlib import Path

import pytest

from session_mw._settings.dev_secret import dev_secret
from session_mw.exceptions import SettingsError
from session_mw.settings import InsecureSettingsWarning, SessionSettings
from tests.settings.support import KEY

PRINT_DIGEST = """
import hashlib, sys, warnings
warnings.simplefilter("ignore")
from session_mw.settings import SessionSettings
sys.stdin.readline()
print(hashlib.sha256(SessionSettings.insecure_dev().secret_bytes()).hexdigest())
"""


def state_file() -> Path:
    """Return where the secret is, by the XDG specification."""
    return Path(os.environ["XDG_STATE_HOME"]) / "session-mw" / "dev-secret"


def test_S29_insecure_dev_is_another_cookie_with_one_warning() -> None:
    """Insecure only by this call: another cookie name, not Secure, and exactly one warning at the caller's line."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        settings = SessionSettings.insecure_dev()

    assert settings.cookie_secure is False
    assert settings.cookie_name == "session_mw_dev"
    assert [InsecureSettingsWarning] == [warning.category for warning in caught]
    assert caught[0].filename == __file__
    assert "development only" in str(caught[0].message)


@pytest.mark.filterwarnings("ignore::session_mw.settings.InsecureSettingsWarning")
def test_insecure_dev_keeps_its_secret_for_the_next_start() -> None:
    """A reload finds the same secret; the file is readable by its owner only."""
    first = SessionSettings.insecure_dev().secret_bytes()
    second = SessionSettings.insecure_dev().secret_bytes()

    assert first == second == state_file().read_bytes()
    assert len(first) >= 64
    assert stat.S_IMODE(state_file().stat().st_mode) == 0o600
    assert stat.S_IMODE(state_file().parent.stat().st_mode) == 0o700
    assert ["dev-secret"] == os.listdir(state_file().parent)


def test_insecure_dev_processes_started_together_agree() -> None:
    """Workers that race to make the secret end with one and the same, in a file of mode 0600."""
    workers = [
        subprocess.Popen([sys.executable, "-c", PRINT_DIGEST], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        for _ in range(4)
    ]
    # All have imported and wait; the line break lets them go together.
    digests = {worker.communicate("\n", timeout=30)[0].strip() for worker in workers}

    assert {hashlib.sha256(state_file().read_bytes()).hexdigest()} == digests
    assert stat.S_IMODE(state_file().stat().st_mode) == 0o600


def test_dev_secret_threads_started_together_agree() -> None:
    """The same race within one process, many times over."""
    for _ in range(20):
        state_file().unlink(missing_ok=True)
        barrier = threading.Barrier(8)
        found: set[object] = set()

        def worker(barrier: threading.Barrier = barrier, found: set[object] = found) -> None:
            barrier.wait()
            found.add(dev_secret().value)

        threads = [threading.Thread(target=worker) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

        assert len(found) == 1


@pytest.mark.filterwarnings("ignore::session_mw.settings.InsecureSettingsWarning")
def test_insecure_dev_obeys_arguments_and_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """A key or a name that somebody chose wins, and then no file is made."""
    assert SessionSettings.insecure_dev(secret_key=KEY).secret_bytes() == KEY.encode()

    monkeypatch.setenv("SESSION_MW_SECRET_KEY", KEY)
    Path(".env").write_text("SESSION_MW_COOKIE_NAME=shop_dev\nSESSION_MW_COOKIE_SECURE=true\n", encoding="utf-8")
    settings = SessionSettings.insecure_dev(sweep="off")

    assert settings.secret_bytes() == KEY.encode()
    assert settings.cookie_name == "shop_dev"
    assert settings.cookie_secure is False
    assert settings.sweep == "off"
    assert not state_file().exists()


@pytest.mark.filterwarnings("ignore::session_mw.settings.InsecureSettingsWarning")
def test_insecure_dev_refuses_contradictions_as_ever() -> None:
    """Insecure is not unchecked."""
    with pytest.raises(SettingsError, match="browsers refuse a cookie with this prefix without Secure"):
        SessionSettings.insecure_dev(cookie_name="__Host-shop")


def test_dev_secret_follows_home_without_xdg(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without XDG_STATE_HOME, or with a relative one, it lies below ~/.local/state."""
    monkeypatch.setenv("XDG_STATE_HOME", "relative/path")
    secret = dev_secret().value

    assert secret == (Path.home() / ".local/state/session-mw/dev-secret").read_text()


def test_dev_secret_without_writable_home_lies_in_the_temporary_folder(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """With no home to write to, a folder named after the user id is made among the temporary files."""
    (tmp_path / "file").write_text("not a folder")
    monkeypatch.delenv("XDG_STATE_HOME")
    monkeypatch.setenv("HOME", str(tmp_path / "file"))

    secret = dev_secret().value
    folder = tmp_path / "temporary" / f"session-mw-{os.getuid()}"

    assert secret == (folder / "dev-secret").read_text()
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700


def test_dev_secret_with_no_place_at_all_says_so(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A secret that only one worker knows would be worse than an error."""
    (tmp_path / "file").write_text("not a folder")
    monkeypatch.delenv("XDG_STATE_HOME")
    monkeypatch.setenv("HOME", str(tmp_path / "file"))
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "file"))

    with pytest.raises(SettingsError, match="no folder to keep a development secret in") as caught:
        dev_secret()

    assert "SESSION_MW_SECRET_KEY" in str(caught.value)


@pytest.mark.parametrize(
    ("file_mode", "folder_mode", "hint"),
    [(0o644, 0o700, "chmod 600"), (0o660, 0o700, "chmod 600"), (0o600, 0o777, "chmod 700")],
)
def test_dev_secret_open_to_others_is_refused(file_mode: int, folder_mode: int, hint: str) -> None:
    """What others could have read or written is no secret."""
    secret = str(dev_secret().value)
    state_file().chmod(file_mode)
    state_file().parent.chmod(folder_mode)

    with pytest.raises(SettingsError, match="is open to others") as caught:
        dev_secret()

    assert hint in str(caught.value)
    assert secret not in str(caught.value)


def test_dev_secret_of_another_user_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """A folder somebody else made in /tmp is not trusted."""
    dev_secret()
    monkeypatch.setattr(os, "getuid", lambda: os.geteuid() + 1)

    with pytest.raises(SettingsError, match="belongs to another user"):
        dev_secret()


def test_dev_secret_that_was_cut_short_is_refused() -> None:
    """An empty file is an accident; the error says what to delete."""
    dev_secret()
    state_file().write_text("")

    with pytest.raises(SettingsError, match=r"is too short .*Delete .*dev-secret so that it is made again"):
        dev_secret()


def test_dev_secret_behind_a_link_is_not_followed(tmp_path: Path) -> None:
    """A link in place of the file is passed over for the next folder."""
    state_file().parent.mkdir(parents=True, mode=0o700)
    (tmp_path / "target").write_text("A" * 64)
    state_file().symlink_to(tmp_path / "target")

    assert dev_secret().value == (Path.home() / ".local/state/session-mw/dev-secret").read_text()
