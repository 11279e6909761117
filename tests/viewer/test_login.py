"""Names and passwords, for ``session-mw view`` where others reach it (promise V2)."""

from __future__ import annotations

import base64
import os
import re
from pathlib import Path
from typing import Any

import pytest
from starlette.testclient import TestClient

from session_mw.exceptions import SettingsError
from session_mw.viewer import SessionViewer, passwords
from session_mw.viewer.login import LASTS_S, Login, Throttle
from session_mw.viewer.passwords import Users, add, hashed
from tests.viewer.pages import EVERY
from tests.viewer.support import NOW_MS, client, filled, read

CHEAP = (16, 8, 1)  # for tests
PASSWORD = "correct horse battery"
BROWSER = {"accept": "text/html,application/xhtml+xml", "sec-fetch-site": "same-origin"}


class Hand:
    """A clock turned by hand."""

    now = 1_000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A file with Ana's password."""
    made = tmp_path / "viewers.txt"
    add(made, "ana", PASSWORD, CHEAP)
    return made


@pytest.fixture
def clock() -> Hand:
    """The time of the server."""
    return Hand()


@pytest.fixture
def someone(path: Path, clock: Hand) -> TestClient:
    """A browser that has not logged in."""
    return TestClient(guarded(path, clock), base_url="http://viewer.test", headers=BROWSER, follow_redirects=False)


def guarded(path: Path, clock: Hand, **options: Any) -> Login:
    """Return a viewer behind a login."""
    login = Login(Users(path), "session_mw_view_1", clock=clock, **options)
    return login.guard(SessionViewer(filled(), auth=login.auth, clock=lambda: NOW_MS))


def log_in(someone: TestClient, name: str = "ana", password: str = PASSWORD, to: str = "", **more: Any) -> Any:
    """Send the form."""
    return someone.post("/login", data={"name": name, "password": password, "to": to}, **more)


@pytest.mark.parametrize("page", EVERY)
def test_V2_nobody_sees_anything_without_a_password(page: str, someone: TestClient) -> None:
    """Every page is the login page; its form leads back to the page that was asked for."""
    answer = someone.get(f"/{page}")
    form = read(answer.text).one("form")

    assert 403 == answer.status_code
    assert "chat-1" not in form.text
    assert "private, no-store" == answer.headers["cache-control"]
    assert "www-authenticate" not in answer.headers
    assert ("post", "login") == (form.attributes["method"], form.attributes["action"].rpartition("/")[2])
    wanted = {"export.csv": "export.csv", "s?id=chat-1": "s?id=chat-1"}.get(page)
    assert wanted in (None, form.one("input", name="to").attributes["value"])


def test_V2_a_password_opens_the_page_that_was_asked_for(someone: TestClient) -> None:
    """The cookie is another secret, no script reads it, and pages say who is logged in."""
    answer = log_in(someone, to="s?id=chat-1")
    page = someone.get("/s?id=chat-1")

    assert (303, "./s?id=chat-1") == (answer.status_code, answer.headers["location"])
    assert re.fullmatch(r"session_mw_view_1=[\w-]{43}; HttpOnly; Path=/; SameSite=lax", answer.headers["set-cookie"])
    assert "signed in as ana" in read(page.text).text


def test_V2_over_https_the_cookie_is_for_https(path: Path, clock: Hand) -> None:
    """``Secure`` where the server speaks TLS itself."""
    someone = TestClient(guarded(path, clock, secure=True), headers=BROWSER, follow_redirects=False)

    assert "; Secure" in log_in(someone).headers["set-cookie"]


@pytest.mark.parametrize(
    "to",
    ["//evil.test", "https://evil.test", "/\\evil.test", "\\\\evil.test", "../../x", "javascript:alert(1)", "s\r\nx: y",
     "./s", "s#x", "\u00e4"],
)  # fmt: skip
def test_V2_the_form_leads_nowhere_else(to: str, someone: TestClient) -> None:
    """Whatever a link to the login page carries, it ends in the viewer."""
    assert "./" == log_in(someone, to=to).headers["location"]


@pytest.mark.parametrize(
    ("name", "password"), [("ana", "wrong"), ("ben", PASSWORD), ("", PASSWORD), ("ana", ""), ("ana", PASSWORD + "x")]
)
def test_V2_anything_else_is_wrong(name: str, password: str, someone: TestClient) -> None:
    """Which of the two was wrong is not told."""
    answer = log_in(someone, name, password)

    assert answer.status_code in (400, 403)  # without one of the fields it is no login
    assert "set-cookie" not in answer.headers
    if answer.status_code == 403:
        assert "Name or password is wrong." == read(answer.text).one(role="alert").text
    assert 403 == someone.get("/").status_code


def test_V2_an_unknown_name_takes_as_long_as_a_known_one(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A hash of the same cost is made for it."""
    seen = []
    scrypt = passwords.hashlib.scrypt
    monkeypatch.setattr(
        passwords.hashlib,
        "scrypt",
        lambda said, **how: (seen.append((how["n"], how["r"], how["p"])), scrypt(said, **how))[1],
    )
    users = Users(path)
    users.check("ben", "x")  # makes the hash that nobody's password has
    seen.clear()

    assert [False, False] == [users.check(name, "a wrong password") for name in ("ana", "ben")]
    assert [CHEAP, CHEAP] == seen


def test_V2_who_guesses_waits(someone: TestClient, clock: Hand) -> None:
    """After five wrong ones the right one has to wait too, longer each time; it is not looked at before."""
    first = [log_in(someone, password="wrong").status_code for _ in range(5)]
    early = log_in(someone)
    clock.now += 1.0
    again = log_in(someone, password="wrong").status_code
    clock.now += 1.9
    still = log_in(someone)
    clock.now += 0.1
    answer = log_in(someone)

    assert ([403] * 5, 429, "1") == (first, early.status_code, early.headers["retry-after"])
    assert "Too many attempts. Try again in 1 s." == read(early.text).one(role="alert").text
    assert (403, 429, 303) == (again, still.status_code, answer.status_code)


def test_V2_many_addresses_wait_for_one_name() -> None:
    """Twenty wrong ones for a name, from wherever, are enough; others' names are free, and a minute is the longest."""
    clock = Hand()
    throttle = Throttle(clock)
    for number in range(40):
        throttle.failed([("peer", f"10.0.0.{number}"), ("name", "ana")])

    assert 60.0 == throttle.wait_s([("peer", "10.9.9.9"), ("name", "ana")])
    assert 0.0 == throttle.wait_s([("peer", "10.0.0.1"), ("name", "ben")])
    throttle.succeeded([("name", "ana")])
    assert 0.0 == throttle.wait_s([("name", "ana")])


def test_V2_who_is_in_is_not_kept_waiting(someone: TestClient) -> None:
    """Wrong passwords of others on the same address lock nobody out who is logged in."""
    log_in(someone)
    for _ in range(9):
        log_in(someone, password="wrong")

    assert 200 == someone.get("/").status_code


def test_V2_a_login_ends(someone: TestClient, clock: Hand) -> None:
    """After half a day."""
    log_in(someone)
    clock.now += LASTS_S - 1
    before = someone.get("/").status_code
    clock.now += 1

    assert (200, 403) == (before, someone.get("/").status_code)


def test_V2_who_signs_out_is_out(someone: TestClient) -> None:
    """Its button stands on each page; the cookie is worth nothing afterwards, to whomever has a copy of it."""
    log_in(someone)
    cookie = someone.cookies["session_mw_view_1"]
    form = read(someone.get("/analytics/journeys").text).one("form", cls="out")
    foreign = someone.post("/logout", headers={"sec-fetch-site": "cross-site"}).status_code
    before = someone.get("/").status_code
    answer = someone.post("/logout")
    someone.cookies.set("session_mw_view_1", cookie)

    assert ("../logout", 403, 200) == (form.attributes["action"], foreign, before)
    assert (303, "./") == (answer.status_code, answer.headers["location"])
    assert 403 == someone.get("/").status_code
    assert [] == read(client(filled()).get("/").text).all("form", cls="out")


@pytest.mark.parametrize("change", ["taken out", "another password"])
def test_V2_who_is_taken_out_is_out(change: str, someone: TestClient, path: Path) -> None:
    """At once, with the cookie too; the same when the password is changed."""
    add(path, "ben", PASSWORD, CHEAP)
    log_in(someone)
    before = someone.get("/").status_code
    if change == "taken out":
        path.write_text("\n".join(line for line in path.read_text().splitlines() if not line.startswith("ana")))
    else:
        add(path, "ana", PASSWORD + "!", CHEAP)

    assert (200, 403) == (before, someone.get("/").status_code)


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"sec-fetch-site": "cross-site"}, 403),
        ({"sec-fetch-site": "same-site"}, 403),
        ({"sec-fetch-site": "same-origin"}, 303),
        ({"origin": "http://evil.test"}, 403),
        ({"origin": "null"}, 403),
        ({"origin": "http://viewer.test"}, 303),
        ({}, 303),
    ],
)
def test_V2_no_other_site_logs_anybody_in(headers: dict[str, str], status: int, path: Path, clock: Hand) -> None:
    """A form of another page is refused, by what browsers say of it."""
    someone = TestClient(guarded(path, clock), base_url="http://viewer.test", follow_redirects=False)

    assert status == log_in(someone, headers=headers).status_code


def test_V2_programs_send_http_basic(path: Path, clock: Hand, monkeypatch: pytest.MonkeyPatch) -> None:
    """They are asked for it, and a right one is checked once, not with every request."""
    someone = TestClient(guarded(path, clock), base_url="http://viewer.test")
    asked = someone.get("/api/sessions")
    seen = []
    check = Users.check
    monkeypatch.setattr(Users, "check", lambda users, *said: (seen.append(said), check(users, *said))[1])
    right = [someone.get("/api/sessions", auth=("ana", PASSWORD)).status_code for _ in range(3)]
    wrong = someone.get("/api/sessions", auth=("ana", "wrong"))

    assert (401, 'Basic realm="session-mw", charset="UTF-8"') == (asked.status_code, asked.headers["www-authenticate"])
    assert ([200] * 3, 401) == (right, wrong.status_code)
    assert [("ana", PASSWORD), ("ana", "wrong")] == seen
    for _ in range(4):
        someone.get("/", auth=("ana", "wrong"))
    assert 429 == someone.get("/", auth=("ana", "wrong")).status_code
    assert 200 == someone.get("/", auth=("ana", PASSWORD)).status_code


@pytest.mark.parametrize("said", ["Basic", "Basic !!!", "Basic " + base64.b64encode(b"ana").decode(), "Bearer x", "é"])
def test_V2_a_broken_header_is_nobody(said: str, path: Path, clock: Hand) -> None:
    """It is asked for again."""
    someone = TestClient(guarded(path, clock))

    assert 401 == someone.get("/", headers={"authorization": said.encode()}).status_code


@pytest.mark.parametrize(
    ("body", "kind"),
    [
        ("name=ana", "application/x-www-form-urlencoded"),
        ("{}", "application/json"),
        ("name=ana&password=" + "x" * 9_000, "application/x-www-form-urlencoded"),
        ("&".join(f"a{n}=1" for n in range(50)), "application/x-www-form-urlencoded"),
    ],
)
def test_V2_what_is_no_form_is_refused(body: str, kind: str, someone: TestClient) -> None:
    """Neither too large nor too small."""
    assert 400 == someone.post("/login", content=body, headers={"content-type": kind}).status_code


@pytest.mark.parametrize("path_", ["/", "/s?id=chat-1", "/login/x"])
def test_V3_nothing_else_is_posted(path_: str, someone: TestClient) -> None:
    """The form is the only thing that is no looking."""
    log_in(someone)

    assert 405 == someone.post(path_).status_code


# -- the file


def test_V2_the_file_is_private_and_has_no_password(path: Path) -> None:
    """Mode 0600 from the first byte, another salt for the same password; scrypt as OWASP says."""
    add(path, "ben", PASSWORD, CHEAP)
    lines = path.read_text().splitlines()

    assert 0o600 == path.stat().st_mode & 0o777
    assert ["ana", "ben"] == [line.partition(":")[0] for line in lines]
    assert PASSWORD not in path.read_text()
    assert 2 == len({line.partition(":")[2] for line in lines})
    assert (2**15, 8, 3) == passwords.COST


def test_V2_a_new_password_replaces_the_old_one(path: Path) -> None:
    """Others stay, comments too."""
    path.write_text("# who may look\n" + path.read_text())
    changed = [add(path, name, "another long password", CHEAP) for name in ("ben", "ana")]
    users = Users(path)

    assert [False, True] == changed
    assert "# who may look" == path.read_text().splitlines()[0]
    assert [True, False] == [users.check("ana", said) for said in ("another long password", PASSWORD)]


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o660, 0o602, 0o644])
@pytest.mark.skipif(os.name != "posix", reason="modes are POSIX's")
def test_V2_a_file_that_others_may_read_is_refused(mode: int, path: Path) -> None:
    """At the start, when it changes later, and when somebody is added."""
    users = Users(path)
    path.chmod(mode)

    for attempt in (lambda: Users(path), users.known, lambda: add(path, "ben", PASSWORD, CHEAP)):
        with pytest.raises(SettingsError, match=rf"its mode is {mode:04o}.*chmod 600"):
            attempt()


GOOD = str(hashed(PASSWORD, CHEAP))


@pytest.mark.parametrize(
    "line",
    [
        "ana",
        "ana:",
        f":{GOOD}",
        f"a:b:{GOOD}",
        "ana:" + PASSWORD,
        "ana:" + GOOD.replace("scrypt", "md5"),
        "ana:" + GOOD.replace(":16:", ":17:"),
        "ana:" + GOOD.replace(":16:", ":1073741824:"),
        "ana:" + GOOD.replace(":16:", ":x:"),
        "ana:" + GOOD[:-4],
        f"a\u202eb:{GOOD}",
    ],
)
def test_V2_a_line_that_cannot_be_read_is_told(line: str, path: Path) -> None:
    """By its number, without what stands there: it may be a password."""
    path.write_text(f"\nana:{GOOD}\n{line}\n")
    with pytest.raises(SettingsError, match="line 3 is not as") as raised:
        Users(path)

    assert PASSWORD not in str(raised.value)


@pytest.mark.parametrize("text", ["", "\n# nobody yet\n"])
def test_V2_an_empty_file_lets_nobody_in(text: str, path: Path) -> None:
    """It is told at the start."""
    path.write_text(text)
    with pytest.raises(SettingsError, match="nobody is in it"):
        Users(path)


def test_V2_a_file_that_is_not_there_is_told(tmp_path: Path) -> None:
    """With its name."""
    with pytest.raises(SettingsError, match=r"none\.txt': no such file"):
        Users(tmp_path / "none.txt")


@pytest.mark.parametrize("name", ["", "a:b", " ana", "#ana", "a\nb", "a\x00", "x" * 65])
def test_V2_what_is_no_name(name: str, path: Path) -> None:
    """Nothing that a line or a header could not hold."""
    with pytest.raises(SettingsError, match="is no name"):
        add(path, name, PASSWORD, CHEAP)


def test_V2_a_short_password_is_refused(path: Path) -> None:
    """Eleven characters are too few; the file stays as it was."""
    before = path.read_text()
    with pytest.raises(SettingsError, match=r"a password has 12 to 1,024 characters, this one has 11"):
        add(path, "ben", "x" * 11, CHEAP)

    assert before == path.read_text()
