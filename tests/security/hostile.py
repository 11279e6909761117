"""Requests of a client that wants to be somebody else: made from a seed, each with what must never come of it."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple
from urllib.parse import quote

from session_mw._core.baggage import BaggageSigner
from tests.security.signed import OURS, signed

EVIL = "hx7evil"  # stands in every value that claims to be ours, and in nothing else
HOUR_MS = 3_600_000
KEYS = ("session.id", "user.id", "gen_ai.conversation.id", "conversation.id", "turn.number", "session.type",
        "session.name", "session.prompt_version", "session.generation", "user.tier", "session.sig")  # fmt: skip
STOLEN = {"session.id": f"sess-{EVIL}", "user.id": f"u_{EVIL}", "turn.number": f"9{EVIL}"}
CONTROLS = ["\x00", "\r\n", "\n", "\x0b", "\x1b[2J", "\x7f", "\x85", "%00", "%0d%0aX-Evil:%201", "%1b%5b2J", "%C2%85"]
FOREIGN = "tenant=t1,region=eu%20west;p=1"

Lines = list[tuple[str, bytes]]


class Case(NamedTuple):
    """
    One hostile request.

    Attributes:
        kind: How it was made, for people.
        headers: To send, in order.
        known: The identity that it may be given all the same: where a valid set came through unharmed.
    """

    kind: str
    headers: Lines
    known: str | None = None


class Attacker:
    """
    Makes cases.

    Args:
        seed: The same one makes the same cases.
        world: The service under attack, some of whose headers were captured: fresh ones, and old ones.
    """

    def __init__(self, seed: int, world: Any) -> None:
        self.random = random.Random(seed)
        self.world = world
        self.kinds: Sequence[Callable[[], Lines | Case]] = [
            self.forged, self.replayed, self.from_the_future, self.truncated, self.oversized, self.duplicated,
            self.mixed_case, self.encoded_key, self.unicode, self.several_lines, self.pushing_out, self.controls,
            self.signature_of_another_set, self.signed_with_another_key, self.broken_signature, self.many_members,
            self.padded, self.shuffled, self.mutated, self.noise, self.properties, self.other_headers,
        ]  # fmt: skip

    def case(self, number: int) -> Case:
        """Return the case of this number; kinds take turns."""
        make = self.kinds[number % len(self.kinds)]
        made = make()
        case = made if isinstance(made, Case) else Case(make.__name__, made)
        if self.random.random() < 0.3:
            case.headers.extend(self.other_headers())
        return case

    # What cases are made of

    def pick(self, *choices: Any) -> Any:
        return self.random.choice(choices)

    def entries(self) -> list[str]:
        """Some entries of ours, unsigned; the session among them."""
        keys = {"session.id", *self.random.sample(KEYS, self.random.randint(0, 4))}
        return [f"{key}={EVIL}{self.random.randint(0, 99)}" for key in sorted(keys)]

    def captured(self, age_ms: int) -> str:
        """A set that was signed so long ago."""
        return signed(self.world, self.world.clock() - age_ms, STOLEN)

    def members(self, count: int, size: int) -> list[str]:
        return [f"k{n}=".ljust(size, "v") for n in range(count)]

    @staticmethod
    def line(text: str | bytes) -> tuple[str, bytes]:
        return "baggage", text if isinstance(text, bytes) else text.encode("utf-8", "replace")

    def mixed(self, entries: Sequence[str]) -> Lines:
        """The entries among those of others, in any order, over one line or several."""
        every = [*entries, *FOREIGN.split(",")]
        self.random.shuffle(every)
        cut = self.random.randint(0, len(every))
        return [self.line(",".join(part)) for part in (every[:cut], every[cut:]) if part]

    # The kinds

    def forged(self) -> Lines:
        return self.mixed(self.entries())

    def replayed(self) -> Lines:
        """Signed by a service of ours, some time beyond the hour ago."""
        return self.mixed([self.captured(HOUR_MS + 61_000 + self.random.randint(0, 10**10))])

    def from_the_future(self) -> Lines:
        return self.mixed([self.captured(-61_000 - self.random.randint(0, 10**9))])

    def truncated(self) -> Lines:
        """Cut somewhere before its end: what is left does not verify."""
        header = self.captured(0)
        return [self.line(header[: self.random.randint(1, len(header) - 1)])]

    def oversized(self) -> Lines:
        size = self.pick(4096, 8191, 8192, 8193, 20_000, 60_000)
        return [self.line(self.pick("session.id=" + EVIL * (size // 7), f"session.id={EVIL};p=" + "x" * size,
                                    "k=" + "v" * size + f",session.id={EVIL}"))]  # fmt: skip

    def duplicated(self) -> Lines:
        """A set that is good (it was captured just now), with one entry more, before it or behind."""
        header, more = self.captured(0), f"{self.pick(*KEYS)}={EVIL}2"
        return [
            self.line(text) for text in self.pick([f"{header},{more}"], [f"{more},{header},{more}"], [header, more])
        ]

    def mixed_case(self) -> Lines:
        return self.mixed([self.pick(str.upper, str.title, str.swapcase)(entry.partition("=")[0]) + f"={EVIL}"
                           for entry in self.entries()])  # fmt: skip

    def encoded_key(self) -> Lines:
        def hide(key: str) -> str:
            hidden = "".join(self.pick(c, c, f"%{ord(c):02X}", f"%{ord(c):02x}") for c in key)
            return self.pick("", "+", "%20", "%09") + hidden.replace(key[0], f"%{ord(key[0]):02x}", 1)

        return self.mixed([hide(key) + f"={EVIL}" for key in self.random.sample(KEYS, 3)])

    def unicode(self) -> Lines:
        """Letters that some reader folds into ours, raw and encoded; characters nobody sees; broken UTF-8."""
        tricks = ("\u017fession.id", "\uff53ession.id", "\u200bsession.id", "session\uff0eid", "s\u00adession.id",
                  "\ufeffuser.id", "\u2063user.id", "\U0001d4fcession.id")  # fmt: skip
        key = self.pick(*tricks)
        raw = self.pick(b"session.id=\xff\xfe", b"session.id=\xc0\xae", b"session\xff.id=", b"\xe2\x80\x8bsession.id=")
        return [self.line(quote(key) + f"={EVIL}"), self.line(key + f"={EVIL}"), self.line(raw + EVIL.encode())]

    def several_lines(self) -> Lines:
        """The set in pieces over many lines, or behind lines of others."""
        entries = [self.line(entry) for entry in self.entries()]
        return [self.line("a=1")] * self.random.randint(1, 50) + entries + [self.line("")] * self.random.randint(0, 3)

    def pushing_out(self) -> Lines:
        """Others' entries up to every limit, meant to leave no room for the real identity."""
        foreign = self.pick(self.members(80, 100), self.members(180, 40), self.members(64, 127), self.members(2, 4090),
                            self.members(1, 8190), self.members(400, 20))  # fmt: skip
        return [self.line(",".join(foreign)), *self.mixed(self.entries())]

    def controls(self) -> Lines:
        bad = self.pick(*CONTROLS)
        key, value = self.pick(*KEYS[:6]), self.pick(EVIL + bad, bad + EVIL, f"{EVIL};p={bad}")
        return [self.line(f"a=1,{key}={value},b=2".encode("latin-1")), self.line(f"{bad}session.id={EVIL}")]

    def signature_of_another_set(self) -> Lines:
        other = signed(self.world, self.world.clock(), {**OURS, "session.id": "sess-other"})
        return self.mixed([*self.entries(), "session.sig=" + other.rpartition("session.sig=")[2]])

    def signed_with_another_key(self) -> Lines:
        key = self.random.randbytes(32)
        ours = {"session.id": f"sess-{EVIL}", "user.id": EVIL}
        signature = BaggageSigner(key).sign(ours, self.world.clock())
        return self.mixed([f"{key}={value}" for key, value in {**ours, "session.sig": signature}.items()])

    def broken_signature(self) -> Lines:
        good = self.captured(0)
        head, _, signature = good.rpartition("session.sig=")
        version, issued, mac = signature.split(".")
        broken = self.pick(f"1.{issued}.", f"2.{issued}.{mac}", f"1.0{issued}.{mac}", f"1.{int(issued) + 1}.{mac}",
                           f"1.{issued}.{mac[::-1]}", f"1.{issued}.{'A' * 43}", f"1.{'9' * 400}.{mac}", f"1.-1.{mac}",
                           f"{version}.{issued}.{mac}=", f"{mac}", "", "." * 500, f"1.{issued}.{mac},session.sig=x",
                           f"1.{quote(chr(0x661))}.{mac}", f"1.{issued}.{mac[:-1]}%")  # fmt: skip
        return [self.line(head + "session.sig=" + broken)]

    def many_members(self) -> Lines:
        count = self.pick(180, 181, 500, 3000)
        entry = self.pick(f"session.id={EVIL}", "k=v", "=", "", "k", f"user.id={EVIL}")
        return [self.line(",".join([entry] * count + self.entries()))]

    def padded(self) -> Lines:
        blank = self.pick(" ", "\t", " \t ", " " * 300)
        return [
            self.line(
                f"{blank},{blank}".join(f"{blank}{e.replace('=', f'{blank}={blank}')}{blank}" for e in self.entries())
            )
        ]

    def shuffled(self) -> Lines:
        """The characters of a good set in another order."""
        text = list(self.captured(0).replace(EVIL, ""))
        self.random.shuffle(text)
        return [self.line("".join(text))]

    def mutated(self) -> Case:
        """A good set with some bytes changed: void, or what it was (where only others' entries were hit)."""
        header = bytearray(signed(self.world, self.world.clock(), OURS, FOREIGN).encode())
        for _ in range(self.random.randint(1, 3)):
            header[self.random.randrange(len(header))] = self.random.randrange(256)
        return Case("mutated", [self.line(bytes(header))], OURS["session.id"])

    def noise(self) -> Lines:
        alphabet = [*b'=,;%" \t\\+.\x00\x7f\xc3\xa9', *b"session.iduser"]
        return [self.line(bytes(self.random.choices(alphabet, k=self.random.randint(0, 3000))))]

    def properties(self) -> Lines:
        return self.mixed(
            [f"session.id={EVIL};session.id={EVIL};q", f"session.sig;{EVIL}=1", f"user.id;=;{EVIL}={EVIL}"]
        )

    def other_headers(self) -> Lines:
        """Everything else that could name a session."""
        cookie = f"__Host-session_mw={EVIL}.{EVIL}.{'A' * 43}"
        token = self.pick(EVIL, f"{EVIL}.{'A' * 43}", "." * 300, EVIL * 500)
        return [
            ("x-session-id", f"sess-{EVIL}".encode()),
            ("x-session-token", token.encode()),
            ("cookie", cookie.encode()),
            ("x-forwarded-for", self.pick(b"10.1.2.3", b"10.1.2.3, 10.9.0.1", b"unknown", b"," * 500)),
            ("forwarded", self.pick(b"for=10.1.2.3", b'for="[fd00::1]"', b"for=", b'for="x, for=10.1.2.3')),
        ]
