"""W3C Baggage: reading it without trusting it, writing ours first, and signing."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from opentelemetry.baggage import get_all
from opentelemetry.baggage.propagation import W3CBaggagePropagator
from opentelemetry.context import Context

from session_mw._core.baggage import BaggageSigner, Entry, encode, is_ours, parse, render, split
from session_mw._core.tokens import TokenCodec

KEY, OLD_KEY, OTHER_KEY = b"current-key" * 3, b"retired-key" * 3, b"foreign-key" * 3
NOW, MINUTE = 1_790_000_000_000, 60_000
OURS = {"session.id": "sess-123", "user.id": "u_" + "a" * 32, "gen_ai.conversation.id": "c" * 20, "turn.number": "3"}
CONTROL = re.compile(r"[\x00-\x08\x0a-\x1f\x7f-\x9f]")


def members(count: int) -> str:
    return ",".join(f"k{n}=v" for n in range(count))


def sized(length: int, part: int = 100) -> str:
    """A header of exactly *length* bytes in members of *part* bytes, the last one shorter or longer."""
    whole = ",".join(f"k{n:03}=".ljust(part, "v") for n in range(length // (part + 1) - 1))
    return whole + ",z=".ljust(length - len(whole), "v")


# Case -> headers, entries as (key, value), problems.
ROWS: dict[str, tuple[list[str | bytes], list[tuple[str, str]], list[str]]] = {
    "no header": ([], [], []),
    "empty": ([""], [], []),
    "one": (["k=v"], [("k", "v")], []),
    "bytes": ([b"k=v"], [("k", "v")], []),
    "8000 commas": (["," * 8000], [], []),
    "empty members": ([",k=v,, ,\t,l=w,"], [("k", "v"), ("l", "w")], []),
    "only equals sign": (["="], [], ["bad_key"]),
    "many equals signs": (["===="], [], ["bad_key"]),
    "no key": (["=v"], [], ["bad_key"]),
    "no equals sign": (["k"], [], ["bad_value"]),
    "no value": (["k="], [("k", "")], []),
    "equals signs in the value": (["k=a==b="], [("k", "a==b=")], []),
    "one bad among good": (["a=1,,b,c=3,=,d=4"], [("a", "1"), ("c", "3"), ("d", "4")], ["bad_value", "bad_key"]),
    "%": (["k=%"], [("k", "%")], []),
    "%zz": (["k=%zz"], [("k", "%zz")], []),
    "%4": (["k=a%4"], [("k", "a%4")], []),
    "%41": (["k=%41"], [("k", "A")], []),
    "percent once": (["k=%2541"], [("k", "%41")], []),
    "invalid utf-8": (["k=%ff%fe"], [("k", "\ufffd\ufffd")], []),
    "half a character": (["k=%e2%82"], [("k", "\ufffd")], []),
    "utf-8": (["k=%C3%A9%F0%9F%99%82"], [("k", "é🙂")], []),
    "nul": (["k=a%00b"], [], ["control_character"]),
    "line break": (["k=a%0d%0aX-Evil:1"], [], ["control_character"]),
    "tab": (["k=a%09b"], [("k", "a\tb")], []),
    "escape": (["k=a%1b[31m"], [], ["control_character"]),
    "delete": (["k=a%7Fb"], [], ["control_character"]),
    "next line": (["k=a%C2%85b"], [], ["control_character"]),
    "line break in a property": (["k=v;p=%0d%0a"], [], ["control_character"]),
    "line break in the key": (["k%0a=v"], [], ["control_character"]),
    "raw line break": (["k=a\r\nX-Evil: 1"], [], ["control_character"]),
    "raw nul": (["k=a\x00b,l=w"], [("l", "w")], ["control_character"]),
    "raw tab inside": (["k=a\tb"], [], ["bad_value"]),
    "plus": (["k=a+b"], [("k", "a+b")], []),
    "space inside": (["k=a b"], [], ["bad_value"]),
    "encoded space": (["k=a%20b"], [("k", "a b")], []),
    "quoted value": (['k="v"'], [], ["bad_value"]),
    "quoted comma": (['k="a,session.id=evil"'], [], ["bad_value"]),
    "backslash": (["k=a\\b"], [], ["bad_value"]),
    "property": (["k=v;p=1"], [("k", "v")], []),
    "properties": (["k=v;p;q=2;r=%20"], [("k", "v")], []),
    "duplicate properties": (["k=v;p=1;p=2"], [("k", "v")], []),
    "property without value": (["k=;p"], [("k", "")], []),
    "only properties": ([";p=1"], [], ["bad_key"]),
    "blanks everywhere": ([" k \t=\t v ; p = 1 ,\tl = w "], [("k", "v"), ("l", "w")], []),
    "blank in the key": (["a b=v"], [], ["bad_key"]),
    "key with brackets": (["a[0]=v"], [], ["bad_key"]),
    "quoted key": (['"k"=v'], [], ["bad_key"]),
    "key is not decoded": (["%6b=v"], [("%6b", "v")], []),
    "key with all characters": (["!#$%&'*+-.^_`|~09AZaz=v"], [("!#$%&'*+-.^_`|~09AZaz", "v")], []),
    "value with all characters": (
        ["k=!#$&'()*+-./09:<=>?@AZ[]^_`az{|}~"],
        [("k", "!#$&'()*+-./09:<=>?@AZ[]^_`az{|}~")],
        [],
    ),
    "duplicates": (["k=1,k=2"], [("k", "1"), ("k", "2")], []),
    "not ascii": (["k=é"], [], ["bad_value"]),
    "key not ascii": (["ü=v"], [], ["bad_key"]),
    "bytes not ascii": ([b"k=\xff\xfe,l=w"], [("l", "w")], ["bad_value"]),
    "fullwidth equals sign": (["k\uff1dv"], [], ["bad_value"]),
    "several headers": (["a=1", b"b=2", "", "c=3"], [("a", "1"), ("b", "2"), ("c", "3")], []),
    "a bare text instead of a list": ("a=1", [("a", "1")], []),  # type: ignore[dict-item]
    "bare bytes instead of a list": (b"a=1", [("a", "1")], []),  # type: ignore[dict-item]
}


@pytest.mark.parametrize(("lines", "entries", "problems"), ROWS.values(), ids=ROWS.keys())
def test_S46_members(lines: list[str | bytes], entries: list[tuple[str, str]], problems: list[str]) -> None:
    """Each member is read as the standard has it or dropped with a reason; nothing raises."""
    parsed = parse(lines)

    assert entries == [(entry.key, entry.value) for entry in parsed.entries]
    assert tuple(problems) == parsed.problems


def test_parse_keeps_the_raw_member() -> None:
    """Properties and spelling stay in ``raw``, so that a member can be passed on as it came."""
    (entry,) = parse([" k = %41;p = 1;q , "]).entries

    assert Entry("k", "A", "k = %41;p = 1;q") == entry


@pytest.mark.parametrize(
    ("header", "kept", "problems"),
    [
        (sized(8191), 81, ()),
        (sized(8192), 81, ()),
        (sized(8193), 80, ("oversize",)),
        (sized(20_000), 81, ("oversize",)),
        ("k=" + "v" * 8191, 0, ("oversize",)),
        ("k=v," + "l=" + "v" * 100_000, 1, ("oversize",)),
        (members(64), 64, ()),
        (members(65), 65, ()),
        (members(180), 180, ()),
        (members(181), 180, ("too_many",)),
        (members(500), 180, ("too_many",)),
        ("k=" + "v" * 4095, 1, ()),
        ("k=" + "v" * 8190, 1, ()),
        ("k=v;" + "p" * 8188, 1, ()),
        ("k=%41" + "v" * 8187, 1, ()),
        ("a=1," + "k=" + "v" * 8187 + ",b=2", 1, ("oversize",)),
    ],
    ids=lambda value: value[:20] if isinstance(value, str) else repr(value),
)
def test_S46_limits(header: str, kept: int, problems: tuple[str, ...]) -> None:
    """8192 bytes, 180 members: beyond that whole members are dropped, the last ones first."""
    parsed = parse([header])

    assert (kept, problems) == (len(parsed.entries), parsed.problems)
    assert all(f",{entry.raw}," in f",{header}," for entry in parsed.entries)


@pytest.mark.parametrize("lines", [[member] * 500 for member in ("k=v", "k=" + "v" * 30, "k=" + "v" * 4000)])
def test_S46_limits_hold_over_all_headers(lines: list[str]) -> None:
    """Many small headers are limited like one large one (CVE-2026-29181)."""
    parsed, whole = parse(lines), parse([",".join(lines)])

    assert whole == parsed
    assert len(",".join(entry.raw for entry in parsed.entries)) <= 8192
    assert len(parsed.entries) <= 180


# Ours and others'


@pytest.mark.parametrize(
    "key",
    [
        "session.id",
        "session.sig",
        "session.anything",
        "user.id",
        "conversation.id",
        "turn.number",
        "gen_ai.conversation.id",
        "Session.Id",
        "SESSION.ID",
        "GEN_AI.Conversation.Id",
        "%73ession.id",
        "session%2Eid",
        "session%2eid",
        "%53ESSION.ID",
        "+session.id",
        "session.id+",
        "%20session.id",
        "%C2%A0user.id",
        "gen_ai.conversation%2eid",
        "%09session.id",
        "%C5%BFession.id",
        "%EF%BD%93ession.id",
        "%E2%80%8Bsession.id",
        "s%C2%ADession.id",
        "user%EF%BC%8Eid",
        "%F0%9D%93%BCession.id",
    ],
)
def test_S46_keys_that_are_ours(key: str) -> None:
    """Our namespaces, in whatever spelling some reader would understand."""
    assert is_ours(key)


@pytest.mark.parametrize(
    "key",
    [
        "",
        "session",
        "sessionid",
        "user",
        "users.id",
        "my.session.id",
        "gen_ai.conversation.name",
        "%2573ession.id",
        "turns",
    ],
)
def test_keys_that_are_not_ours(key: str) -> None:
    """What is outside our namespaces belongs to somebody else."""
    assert not is_ours(key)


SPLITS: dict[str, tuple[list[str], dict[str, str], str | None, list[str]]] = {
    "none": ([], {}, None, []),
    "empty": ([""], {}, None, []),
    "only foreign": (["a=1,b=2"], {}, "a=1,b=2", []),
    "only ours": (["session.id=s,user.id=u"], {"session.id": "s", "user.id": "u"}, None, []),
    "mixed": (["a=1,session.id=s,b=2;p"], {"session.id": "s"}, "a=1,b=2;p", []),
    "our key forged": (["session.id=EVIL,user.id=admin"], {"session.id": "EVIL", "user.id": "admin"}, None, []),
    "duplicates of ours": (["session.id=1,a=1,session.id=2"], {"session.id": "2"}, "a=1", []),
    "duplicates over headers": (["session.id=1", "session.id=2"], {"session.id": "2"}, None, []),
    "duplicates of others": (["a=1,a=2"], {}, "a=1,a=2", []),
    "other case": (["Session.Id=EVIL,a=1"], {}, "a=1", ["bad_key"]),
    "other case beside ours": (["session.id=s,SESSION.ID=EVIL"], {"session.id": "s"}, None, ["bad_key"]),
    "encoded key": (["%73ession.id=EVIL,a=1"], {}, "a=1", ["bad_key"]),
    "percent sign in the key": (["session.id%=EVIL,session.%zz=EVIL,a=1"], {}, "a=1", ["bad_key"]),
    "plus in the key": (["session.a+b=EVIL,a=1"], {}, "a=1", ["bad_key"]),
    "key with plus": (["+session.id=EVIL,a=1"], {}, "a=1", ["bad_key"]),
    "decoded value": (["conversation.topic=a%20b"], {"conversation.topic": "a b"}, None, []),
    "property of ours": (["session.id=s;p=1,a=1;p=1"], {"session.id": "s"}, "a=1;p=1", []),
    "blanks": ([" session.id = s , a = %41 ; p "], {"session.id": "s"}, "a = %41 ; p", []),
    "spelling of others": (["a=%zz,b=%41+%ff,c="], {}, "a=%zz,b=%41+%ff,c=", []),
    "bad members": (["a,b=2,=,c=\x00"], {}, "b=2", ["bad_value", "bad_key", "control_character"]),
    "our name as a value": (["a=session.id,b=user.id"], {}, "a=session.id,b=user.id", []),
    "quoted comma": (['a="x,session.id=EVIL"'], {}, None, ["bad_value"]),
}


@pytest.mark.parametrize(("lines", "ours", "foreign", "problems"), SPLITS.values(), ids=SPLITS.keys())
def test_S46_split(lines: list[str], ours: dict[str, str], foreign: str | None, problems: list[str]) -> None:
    """Ours are taken out, decoded; the others' members stay byte for byte in their order."""
    assert (ours, foreign, tuple(problems)) == split(lines)


PIECES = [
    *("session.id", "user.", "%73ession.id", "SESSION.ID", "gen_ai.conversation.id", "a", "k9"),
    *("=", "=v", "%41", "%0d%0a", "%00", "%C2%85", "%ff", "%", "+", ",", ",", ";", "p=1", " ", "\t"),
    *('"', "\\", "\x00", "\r\n", "é", "\u2028", "=%20", "v,"),
]
baggage_text = st.lists(st.sampled_from(PIECES)).map("".join)


@given(st.lists(baggage_text | st.text() | st.binary(), max_size=4))
def test_S46_any_text(lines: list[str | bytes]) -> None:
    """Whatever is received, what comes out is bounded and without control characters."""
    parsed, (ours, foreign, problems) = parse(lines), split(lines)

    assert not any(CONTROL.search(entry.key + entry.value) for entry in parsed.entries)
    assert not any(CONTROL.search(key + value) for key, value in ours.items())
    assert foreign is None or (
        len(foreign) <= 8192 and foreign.isascii() and not re.search(r"[\x00-\x08\x0a-\x1f\x7f]", foreign)
    )
    assert len(parsed.entries) <= 180
    assert {*parsed.problems, *problems} <= {
        "oversize", "too_many", "bad_key", "bad_value", "control_character"
    }  # fmt: skip


@given(st.lists(baggage_text, max_size=3))
def test_S46_split_and_parse_agree(lines: list[str | bytes]) -> None:
    """The quick way through ``split`` finds what the thorough one finds."""
    ours, foreign, _ = split(lines)
    entries = parse(lines).entries

    assert [entry.raw for entry in entries if not is_ours(entry.key)] == (foreign.split(",") if foreign else [])
    assert {
        e.key: e.value
        for e in entries
        if is_ours(e.key) and e.key == e.key.lower() and "%" not in e.key and "+" not in e.key
    } == ours


@given(st.lists(baggage_text, max_size=3))
def test_S46_stock_opentelemetry_finds_nothing_of_ours_in_what_is_left(lines: list[str | bytes]) -> None:
    """Behind us, OpenTelemetry's own propagator cannot read our keys or a line break out of what we left."""
    foreign = split(lines)[1]
    found = get_all(W3CBaggagePropagator().extract({"baggage": foreign or ""}, Context()))

    assert [] == [key for key in found if is_ours(key) or key.lower().startswith(("session.", "user.", "turn."))]
    assert not CONTROL.search("".join(f"{key}{value}" for key, value in found.items()))


FILLERS = [
    "\\",
    ";",
    ",",
    "=",
    "%",
    '"',
    " ",
    "\t",
    "a",
    "a=",
    "a=,",
    "=,",
    "%0",
    "a=%41",
    "k=v,",
    "k=" + " " * 50,
    "session.id=s,",
]


@pytest.mark.parametrize("filler", FILLERS)
def test_S46_reading_takes_linear_time(filler: str, best_ms: Callable[[Callable[[], object]], float]) -> None:
    """64 KB of anything cost under 5 ms, in one header or in thousands."""
    text = filler * (65536 // len(filler))

    for lines in ([text], [text[:8192]], [text[:4000]], ["k=v" + text[:4000] + "\x00"], [text[:100]] * 655):
        assert best_ms(lambda lines=lines: split(lines)) < 5  # type: ignore[misc]
        assert best_ms(lambda lines=lines: parse(lines)) < 5  # type: ignore[misc]


# Writing


def test_render_ours_first() -> None:
    """Our entries stand first, encoded; the others' members follow as they came."""
    header = render({"session.id": "s-1", "conversation.topic": "a b,c;é"}, ["a=1;p = %zz", "b=2"])

    assert "session.id=s-1,conversation.topic=a%20b%2Cc%3B%C3%A9,a=1;p = %zz,b=2" == header


@pytest.mark.parametrize(
    ("foreign", "expected"),
    [
        ([], "session.id=s"),
        (["a=1,b=2", "c=3"], "session.id=s,a=1,b=2,c=3"),
        ("a=1,b=2", "session.id=s,a=1,b=2"),
        (["session.id=EVIL", "a=1"], "session.id=s,a=1"),
        (["Session.Id=EVIL", "%73ession.id=EVIL", "user.id=x"], "session.id=s"),
        (["a=1\r\nX-Evil: 1", "b=2"], "session.id=s,b=2"),
        (["a", "=", "", " , ", "b=2"], "session.id=s,b=2"),
        (["k=" + "v" * 8177, "b=2"], "session.id=s,k=" + "v" * 8177),
        (["k=" + "v" * 8178, "b=2"], "session.id=s"),
    ],
)
def test_render_foreign(foreign: Any, expected: str) -> None:
    """What is no member, or could pass for one of ours, is not passed on."""
    assert expected == render({"session.id": "s"}, foreign)


@pytest.mark.parametrize(("count", "kept"), [(179, 179), (180, 179), (500, 179)])
def test_render_member_limit(count: int, kept: int) -> None:
    """At most 180 members leave, ours among them; the last ones of others are dropped."""
    header = render({"session.id": "s"}, [f"k{n}=v" for n in range(count)])

    assert [f"k{n}=v" for n in range(kept)] == header.split(",")[1:]


@pytest.mark.parametrize("size", [10, 100, 999, 4000])
def test_render_byte_limit(size: int) -> None:
    """At most 8192 bytes leave; a member is whole or absent, and ours are never the ones to go."""
    foreign = [f"k{n:05}=".ljust(size, "v") for n in range(9000 // size + 2)]
    header = render(OURS, foreign)
    sent = header.split(",")

    assert len(header) <= 8192
    assert list(OURS) == [member.partition("=")[0] for member in sent[:4]]
    assert foreign[: len(sent) - 4] == sent[4:]
    assert len(sent) == 180 or len(header) + 1 + size > 8192


def test_render_nothing() -> None:
    """Without entries there is no header."""
    assert "" == render({}, [])


@pytest.mark.parametrize(
    ("key", "value", "expected"),
    [
        ("a", "b", "a=b"),
        ("a", "", "a="),
        ("a", "x/y+z=", "a=x%2Fy%2Bz%3D"),
        ("a b", "c", "a%20b=c"),
        ("a", "\ud800", "a=%3F"),
        ("", "b", None),
        ("a", "v" * 8190, "a=" + "v" * 8190),
        ("a", "v" * 8191, None),
    ],
    ids=repr,
)
def test_encode(key: str, value: str, expected: str | None) -> None:
    """Members are written with the characters that every reader leaves alone."""
    assert expected == encode(key, value)


printable = st.text(st.characters(exclude_categories=["Cs", "Cc"]), max_size=40)
our_entries = st.dictionaries(st.sampled_from([*OURS, "session.type", "conversation.topic"]), printable)


@given(our_entries, st.lists(st.sampled_from(["a=1", "b=%zz;p", "c = 3"])))
def test_render_and_split_round_trip(ours: dict[str, str], foreign: list[str]) -> None:
    """What we write we read back, and others' members pass through untouched."""
    header = render(ours, foreign)

    assert (ours, ",".join(foreign) or None, ()) == split([header])


@given(our_entries)
def test_render_is_read_by_opentelemetry(ours: dict[str, str]) -> None:
    """OpenTelemetry's own propagator reads the same values, blanks at the ends apart."""
    found = get_all(W3CBaggagePropagator().extract({"baggage": render(ours, [])}, Context()))

    assert {key: value.strip() for key, value in ours.items()} == found


# Signatures


SIGNER = BaggageSigner(KEY, (OLD_KEY,))


def verdict(ours: dict[str, str], signer: BaggageSigner = SIGNER, now_ms: int = NOW) -> str:
    return signer.verify(ours, now_ms=now_ms, max_age_ms=10 * MINUTE, skew_ms=MINUTE)


def vouched(ours: dict[str, str], signer: BaggageSigner = SIGNER, now_ms: int = NOW) -> dict[str, str]:
    return {**ours, "session.sig": signer.sign(ours, now_ms)}


@given(our_entries)
def test_signature_round_trip_on_the_wire(ours: dict[str, str]) -> None:
    """What one service signs and sends, the next one verifies, whatever others' members travel along."""
    received, foreign, problems = split([render(vouched(ours), ["a=1"])])

    assert ("ok", "a=1", ()) == (verdict(received), foreign, problems)


def test_signature_form() -> None:
    """The signature is version, seconds and 43 characters that no propagator re-encodes."""
    signature = SIGNER.sign(OURS, NOW + 999)

    assert re.fullmatch(r"1\.1790000000\.[A-Za-z0-9_-]{43}", signature)
    assert SIGNER.sign(dict(reversed(OURS.items())), NOW) == signature
    assert SIGNER.sign(vouched(OURS), NOW) == signature


@pytest.mark.parametrize(
    "change",
    [
        {"session.id": "sess-124"},
        {"session.id": ""},
        {"user.id": "u_" + "b" * 32},
        {"user.tier": "gold"},
        {"session.prompt_version": ""},
        {"turn.number": "4"},
    ],
    ids=repr,
)
def test_S46_a_changed_or_added_entry_voids_the_signature(change: dict[str, str]) -> None:
    """The signature is over all of our entries: none can be changed or slipped in."""
    assert "bad_signature" == verdict({**vouched(OURS), **change})


@pytest.mark.parametrize("key", OURS)
def test_S46_a_removed_entry_voids_the_signature(key: str) -> None:
    """Nor can one be taken out."""
    signed = vouched(OURS)
    del signed[key]

    assert "bad_signature" == verdict(signed)


@given(our_entries, our_entries)
def test_S46_a_signature_fits_one_set_of_entries(first: dict[str, str], second: dict[str, str]) -> None:
    """No two sets of entries are signed alike, however their texts are cut."""
    assert (first == second) is (SIGNER.sign(first, NOW) == SIGNER.sign(second, NOW))


def test_signature_encoding_is_injective() -> None:
    """Keys and values cannot be shifted into each other."""
    sets: list[dict[str, str]] = [
        {"user.a": "bc"},
        {"user.ab": "c"},
        {"user.a": "b", "user.c": ""},
        {"user.a": "b6:user.c0:"},
    ]

    assert 4 == len({SIGNER.sign(ours, NOW) for ours in sets})


SIGNATURE = SIGNER.sign(OURS, NOW)


@pytest.mark.parametrize(
    ("signature", "expected"),
    [
        (None, "missing"),
        ("", "malformed"),
        ("..", "malformed"),
        ("1.1790000000", "malformed"),
        ("1.1790000000.", "malformed"),
        (SIGNATURE + "=", "malformed"),
        (SIGNATURE + "A", "malformed"),
        (SIGNATURE[:-1], "malformed"),
        (SIGNATURE + "\n", "malformed"),
        (" " + SIGNATURE, "malformed"),
        ("2" + SIGNATURE[1:], "malformed"),
        (SIGNATURE.replace("1.17", "1.017"), "malformed"),
        (SIGNATURE.replace("1.17", "1.-17"), "malformed"),
        (SIGNATURE.replace("1.17", "1.+17"), "malformed"),
        (SIGNATURE.replace("1.1790000000", "1.١٧٩"), "malformed"),
        (SIGNATURE.replace("1.1790000000", "1." + "9" * 13), "malformed"),
        (SIGNATURE.replace("1.1790000000", "1." + "9" * 5000), "malformed"),
        (SIGNATURE.replace("1.1790000000", "1.1790000001"), "bad_signature"),
        (SIGNATURE.replace("1.1790000000", "1." + "9" * 12), "bad_signature"),
        ("1.1790000000." + "A" * 43, "bad_signature"),
        (BaggageSigner(OTHER_KEY).sign(OURS, NOW), "bad_signature"),
        (BaggageSigner(OLD_KEY).sign(OURS, NOW), "ok"),
        (SIGNER.sign({**OURS, "session.id": "other"}, NOW), "bad_signature"),
        ("\ud800", "malformed"),
    ],
    ids=lambda value: repr(value)[:40],
)
def test_S46_signatures_of_all_kinds(signature: str | None, expected: str) -> None:
    """Whatever stands where the signature belongs gets a verdict, never an exception."""
    assert expected == verdict({**OURS, "session.sig": signature} if signature is not None else OURS)


@pytest.mark.parametrize(
    ("age_ms", "expected"),
    [
        (-61_000, "from_future"),
        (-60_000, "ok"),
        (0, "ok"),
        (10 * MINUTE, "ok"),
        (10 * MINUTE + 60_000, "ok"),
        (10 * MINUTE + 61_000, "expired"),
        (365 * 86_400_000, "expired"),
    ],
)
def test_S13_signatures_grow_old(age_ms: int, expected: str) -> None:
    """A signature seen by a stranger is worth nothing a while later; clocks may differ by the skew."""
    assert expected == verdict(vouched(OURS, now_ms=NOW), now_ms=NOW + age_ms)


def test_S03_baggage_is_signed_with_the_current_key() -> None:
    """Fallbacks verify and never sign."""
    assert "ok" == verdict(vouched(OURS), BaggageSigner(KEY))
    assert "bad_signature" == verdict(vouched(OURS), BaggageSigner(OLD_KEY))


def test_S06_a_token_is_no_baggage_signature() -> None:
    """Keys for cookies and for baggage are derived apart."""
    codec = TokenCodec(KEY, purpose="cookie", name="session.sig")
    keys = codec._keys
    message = b"1:110:1790000000"

    assert "bad_signature" == verdict({"session.sig": f"1.1790000000.{keys.sign(message).decode()}"})


def test_S14_problems_and_verdicts_quote_nothing() -> None:
    """What a client sent is in no reason that could be logged."""
    secret = "s3cr3t"
    _, _, problems = split([f"{secret}\x00={secret},{secret},={secret},Session.Id={secret}"])

    assert secret not in repr((problems, SIGNER))
