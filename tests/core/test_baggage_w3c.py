"""
The W3C's own cases, written down anew from its text: W3C Baggage, "Baggage HTTP Header Format" (2025-06).

Each row names the section that it stands for and what that section asks of us. Where OpenTelemetry's propagator reads
otherwise (it decodes "+" to a blank, reads one header only, drops pairs above 4096 bytes), the text is followed.
"""

from __future__ import annotations

from typing import NamedTuple

import pytest
from opentelemetry import baggage
from opentelemetry.context import Context

from session_mw._core.baggage import parse, render, split
from session_mw.telemetry.propagator import SessionBaggagePropagator


class Row(NamedTuple):
    """
    One case.

    Attributes:
        section: Of the specification.
        rule: What it asks, in short.
        lines: The headers as received.
        entries: Key and value of each member.
        sent: The members as they are passed on; None where they are the headers themselves.
    """

    section: str
    rule: str
    lines: list[str]
    entries: list[tuple[str, str]]
    sent: str | None = None


SPECIAL = "\t \"';=asdf!@#$%^&*()"
ENCODED = "%09%20%22%27%3B%3Dasdf%21%40%23%24%25%5E%26%2A%28%29"
KEY_CHARACTERS = "!#$%&'*+-.^_`|~0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
OCTETS = "".join(map(chr, [0x21, *range(0x23, 0x2C), *range(0x2D, 0x3B), *range(0x3C, 0x5C), *range(0x5D, 0x7F)]))
UNDECODED = OCTETS.replace("%", "")

ROWS = [
    # One header
    Row("Definition", "list-member = key = value", ["SomeKey=SomeValue"], [("SomeKey", "SomeValue")]),
    Row("Definition", "members are separated by commas", ["a=1,b=2,c=3"], [("a", "1"), ("b", "2"), ("c", "3")]),
    Row(
        "Definition", "blanks and tabs may stand around commas", ["a=1 \t,\t b=2"], [("a", "1"), ("b", "2")], "a=1,b=2"
    ),
    Row("Definition", "a value may be empty", ["a=,b=2"], [("a", ""), ("b", "2")]),
    Row("Definition", "a member of a list may have properties", ["a=1;p,b=2;q=3"], [("a", "1"), ("b", "2")]),
    # Several headers
    Row(
        "Baggage HTTP Header Format",
        "several headers are one list",
        ["a=1", "b=2,c=3"],
        [("a", "1"), ("b", "2"), ("c", "3")],
        "a=1,b=2,c=3",
    ),
    Row(
        "Examples of HTTP headers",
        "baggage split into two headers",
        ["userId=alice", "serverNode=DF%2028,isProduction=false"],
        [("userId", "alice"), ("serverNode", "DF 28"), ("isProduction", "false")],
        "userId=alice,serverNode=DF%2028,isProduction=false",
    ),
    Row(
        "Examples of HTTP headers",
        "one header",
        ["userId=alice,serverNode=DF%2028,isProduction=false"],
        [("userId", "alice"), ("serverNode", "DF 28"), ("isProduction", "false")],
    ),
    Row(
        "Examples of HTTP headers",
        "characters beyond the octets are encoded",
        ["userId=Am%C3%A9lie,serverNode=DF%2028"],
        [("userId", "Amélie"), ("serverNode", "DF 28")],
    ),
    Row(
        "Examples of HTTP headers",
        "names and values may be surrounded by blanks",
        ["userId =   alice", "serverNode = DF%2028, isProduction = false"],
        [("userId", "alice"), ("serverNode", "DF 28"), ("isProduction", "false")],
        "userId =   alice,serverNode = DF%2028,isProduction = false",
    ),
    Row(
        "Example",
        "three members, 86 bytes",
        ["key1=value1;property1;property2, key2 = value2, key3=value3; propertyKey=propertyValue"],
        [("key1", "value1"), ("key2", "value2"), ("key3", "value3")],
        "key1=value1;property1;property2,key2 = value2,key3=value3; propertyKey=propertyValue",
    ),
    # baggage-string
    Row(
        "baggage-string",
        "keys need not be unique, and their order is kept",
        ["a=1,b=2,a=3"],
        [("a", "1"), ("b", "2"), ("a", "3")],
    ),
    # key
    Row("key", "a key is a token", [KEY_CHARACTERS + "=v"], [(KEY_CHARACTERS, "v")]),
    Row("key", "a key is not percent-decoded", ["Some%4Bey=v"], [("Some%4Bey", "v")]),
    Row(
        "key", "blanks around it are not a part of the key", [" \t SomeKey \t =v"], [("SomeKey", "v")], "SomeKey \t =v"
    ),
    # value
    Row("value", "all octets of the grammar", ["k=" + UNDECODED], [("k", UNDECODED)]),
    Row("value", "whatever else is percent-encoded", ["SomeKey=" + ENCODED], [("SomeKey", SPECIAL)]),
    Row("value", "the percent sign is encoded", ["k=100%25"], [("k", "100%")]),
    Row("value", "it is decoded once", ["k=%2525"], [("k", "%25")]),
    Row("value", "what need not be encoded may be", ["k=%41%2d%7A"], [("k", "A-z")]),
    Row("value", "hexadecimal digits in either case (RFC 3986, 2.1)", ["k=%c3%A9%C3%a9"], [("k", "éé")]),
    Row("value", "a plus is a plus", ["k=a+b%2Bc"], [("k", "a+b+c")]),
    Row("value", "octets that are no UTF-8 become U+FFFD", ["k=a%FFb"], [("k", "a\ufffdb")]),
    Row("value", "half a character becomes U+FFFD", ["k=%E2%82"], [("k", "\ufffd")]),
    Row("value", "an encoded surrogate is no UTF-8", ["k=%ED%A0%80"], [("k", "\ufffd\ufffd\ufffd")]),
    Row("value", "an overlong encoding is no UTF-8", ["k=%C0%AF"], [("k", "\ufffd\ufffd")]),
    Row("value", "beyond Unicode is no UTF-8", ["k=%F5%80%80%80"], [("k", "\ufffd\ufffd\ufffd\ufffd")]),
    Row(
        "value",
        "blanks around it are not a part of the value",
        ["SomeKey \t = \t SomeValue \t "],
        [("SomeKey", "SomeValue")],
        "SomeKey \t = \t SomeValue",
    ),
    Row(
        "value",
        "encoded, with blanks around it",
        [f"SomeKey \t = \t {ENCODED} \t "],
        [("SomeKey", SPECIAL)],
        f"SomeKey \t = \t {ENCODED}",
    ),
    Row("value", "equals signs belong to the value", ["SomeKey=SomeValue=equals"], [("SomeKey", "SomeValue=equals")]),
    Row("value", "any number of them", ["k===", "l=a=b=c="], [("k", "=="), ("l", "a=b=c=")], "k===,l=a=b=c="),
    # property
    Row("property", "a key alone", ["SomeKey=SomeValue;SomeProp"], [("SomeKey", "SomeValue")]),
    Row("property", "a key and a value", ["SomeKey=SomeValue;SomePropKey=SomePropValue"], [("SomeKey", "SomeValue")]),
    Row("property", "several", ["SomeKey=SomeValue;SomeProp;SecondProp=PropValue"], [("SomeKey", "SomeValue")]),
    Row(
        "property",
        "several of one name",
        ["SomeKey=SomeValue;SomeProp;SomeProp=PropValue;SomeProp=AnotherPropValue"],
        [("SomeKey", "SomeValue")],
    ),
    Row(
        "property",
        "of several members",
        ["SomeKey=SomeValue;SomeProp,SomeKey2=SomeValue2;ValueProp=PropVal"],
        [("SomeKey", "SomeValue"), ("SomeKey2", "SomeValue2")],
    ),
    Row(
        "property",
        "of several members, with values",
        ["SomeKey=SomeValue;SomePropKey=SomePropValue,SomeKey2=SomeValue2;SomePropKey2=SomePropValue2"],
        [("SomeKey", "SomeValue"), ("SomeKey2", "SomeValue2")],
    ),
    Row(
        "property",
        "blanks around everything",
        ["Key \t = \t Value \t ; \t Prop \t ; \t Prop2 \t = \t Value2 , \t Key2 \t = \t v2 \t ; \t p \t "],
        [("Key", "Value"), ("Key2", "v2")],
        "Key \t = \t Value \t ; \t Prop \t ; \t Prop2 \t = \t Value2,Key2 \t = \t v2 \t ; \t p",
    ),
    Row(
        "property",
        "its value is encoded as values are",
        ["SomeKey=SomeValue;SomePropKey=" + ENCODED],
        [("SomeKey", "SomeValue")],
    ),
    Row(
        "property",
        "an encoded key is a key, not a pair",
        ["SomeKey=SomeValue;ValueProp%20%09%20%3D%20%09%20PropVal"],
        [("SomeKey", "SomeValue")],
    ),
    Row("property", "equals signs belong to its value", ["k=v;p=a==b"], [("k", "v")]),
    Row("property", "behind an empty value", ["k=;p=1"], [("k", "")]),
    # Mutating baggage: a string that is not in the format
    Row(
        "Mutating baggage",
        "an offending member may be removed, the rest passed on",
        ['a=1,b="x",c,=,d=4'],
        [("a", "1"), ("d", "4")],
        "a=1,d=4",
    ),
]


@pytest.mark.parametrize("row", ROWS, ids=lambda row: f"{row.section}: {row.rule}")
def test_headers_are_read_as_the_text_says(row: Row) -> None:
    """Keys and decoded values, in order."""
    assert row.entries == [(entry.key, entry.value) for entry in parse(row.lines).entries]


@pytest.mark.parametrize("row", ROWS, ids=lambda row: f"{row.section}: {row.rule}")
def test_headers_are_passed_on_as_they_came(row: Row) -> None:
    """Every member whole, with its properties and in its own spelling; here, and behind the propagator."""
    expected = row.lines[0] if row.sent is None else row.sent

    assert expected == split(row.lines)[1] == render({}, row.lines)


@pytest.mark.parametrize("row", ROWS, ids=lambda row: f"{row.section}: {row.rule}")
def test_propagator_reads_and_writes_the_same(row: Row) -> None:
    """The application sees the values, of duplicates the last; the next service gets what came."""
    propagator = SessionBaggagePropagator()
    context = propagator.extract({"baggage": row.lines}, Context())
    carrier: dict[str, str] = {}
    propagator.inject(carrier, context)
    found = {key: str(value) for key, value in baggage.get_all(context).items()}

    assert dict(row.entries).keys() == found.keys()
    assert all(found[key].split(";")[0] == value for key, value in dict(row.entries).items() if ";" not in value)
    if len(found) == len(row.entries):
        assert carrier == {"baggage": row.lines[0] if row.sent is None else row.sent}


# Limits. Condition 1: 64 members or less; condition 2: 8192 bytes or less.

OURS = {"session.id": "s-1", "user.id": "u_1", "turn.number": "3"}


def test_limits_64_members_with_those_we_add_are_all_sent() -> None:
    """Limits, condition 1: the members that the platform adds count, and none is dropped."""
    foreign = [f"key{n}=value" for n in range(64 - len(OURS))]

    assert ["session.id=s-1", "user.id=u_1", "turn.number=3", *foreign] == render(OURS, foreign).split(",")


def test_limits_8192_bytes_with_those_we_add_are_all_sent() -> None:
    """Limits, condition 2: up to the last byte."""
    room = 8192 - len(render(OURS, []))
    foreign = "k=".ljust(room - 1, "v")
    header = render(OURS, [foreign])

    assert 8192 == len(header)
    assert header.endswith("," + foreign)


def test_limits_one_member_of_8192_bytes_is_sent() -> None:
    """Limits: no member has a limit of its own."""
    member = "a=" + "0123456789" * 819

    assert 8192 == len(member)
    assert member == split([member])[1] == render({}, [member])
    assert member == split([member[:4000] + "%41" + member[4003:]])[1].replace("%41", member[4000:4003])  # type: ignore[union-attr]


def test_limits_64_members_are_all_passed_on() -> None:
    """Limits, condition 1: as they came, in one header or in many."""
    members = [f"k{n}=v;p" for n in range(64)]

    assert members == (split([",".join(members)])[1] or "").split(",") == (split(members)[1] or "").split(",")


def test_limits_512_members_are_cut_to_whole_ones() -> None:
    """Limits: beyond both conditions members may be dropped, none in parts; the grammar knows 180 (Definition)."""
    members = [f"{n:03}=0123456789a" for n in range(512)]
    header = ",".join(members)

    assert 8191 == len(header)
    assert members[:180] == [entry.raw for entry in parse([header]).entries] == render({}, [header]).split(",")
    assert members[:64] == (split([header])[1] or "").split(",")


@pytest.mark.parametrize("size", range(8180, 8200))
def test_limits_no_partial_member(size: int) -> None:
    """Limits: what cannot be propagated whole is not propagated in parts."""
    members = [f"k{n}=".ljust(150, "v") for n in range(53)]
    members.append("last=".ljust(size - len(",".join(members)) - 1, "v"))
    sent = (split([",".join(members)])[1] or "").split(",")

    assert members[: len(sent)] == sent
    assert len(sent) == (54 if size <= 8192 else 53)


def test_limits_apply_to_all_headers_together() -> None:
    """Limits: several headers are limited as their combination is."""
    lines = [f"k{n}=".ljust(1000, "v") for n in range(20)]

    assert lines[:8] == (split(lines)[1] or "").split(",")
