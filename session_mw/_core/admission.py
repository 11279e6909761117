"""
Who is this: from the tokens, baggage and ids that a request presents to one verified identity, or none.

Precedence. A browser (it sends ``Sec-Fetch-*``) speaks through its cookie, or the token header where it has none of
ours. For everybody else: baggage that is signed or comes from a trusted peer (the caller owns the session, this service
continues it), then the token header, then the cookie, then a bare id from a trusted peer. Whatever does not verify is
reported with a reason and otherwise ignored: an id that we did not issue is never adopted (OWASP Session Management,
"strict" ids).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Literal

from . import baggage, names
from .cookies import find_cookies
from .events import TokenRejected
from .facts import RequestFacts
from .identity import clean_attribute, scope_conversation_id, valid_session_id
from .policy import Policy
from .records import AttributeValue
from .store_clock import SKEW_MS
from .tokens import Claim, Rejected, TokenCodec, VerifiedTokens, check_times

Source = Literal["cookie", "header", "baggage", "peer", "client", "environment"]  # the last two by integrations
MAX_KNOWN, MAX_KNOWN_BYTES = 2048, 1024  # cookie headers remembered, and how long one may be: 4 MB at most
BAGGAGE_MAX_AGE_MS = 3_600_000  # a captured header is worth nothing after an hour


class Presented:
    """
    What a request presented.

    Attributes:
        claim: The verified token, if any.
        source: Where it came from.
        remote: Identity that a trusted service handed on; this service continues it.
        bare_id: Id from a trusted peer's ``X-Session-ID``.
        rejected: What did not verify.
        baggage: The baggage header without our entries; None when nothing foreign was in it.
        stripped: Whether entries of ours were taken out of the baggage.
        minted: Id that a session takes which begins with this request; None makes one when it is needed.
        decided: Session that a sampler went by, before the middleware had the request; None when none asked.
        said: What the request says of its session besides, by wire name; given by an integration.
        passes: Whether the request goes on without a session; said by an integration.
        keeps: Whether the session keeps its id when it has ended and is used again; said by an integration.
        waits: Whether the turn begins later, when the application has let the request in; said by an integration.
    """

    # Defaults stand on the class: most requests present a good token and nothing else.
    claim: Claim | None = None
    source: Source | None = None
    remote: Mapping[str, str] | None = None
    bare_id: str | None = None
    rejected: Sequence[TokenRejected] = ()
    baggage: str | None = None
    stripped: bool = False
    minted: str | None = None
    decided: str | None = None
    said: Mapping[str, AttributeValue] | None = None
    passes: bool = False
    keeps: bool = False
    waits: bool = False

    def reject(self, reason: str, source: Source) -> None:
        """Note what did not verify."""
        self.rejected = [*self.rejected, TokenRejected(reason, source)]


def admit(facts: RequestFacts, policy: Policy, now_ms: int) -> Presented:
    """Return who *facts* says it is, verified."""
    found = Presented()
    if facts.baggage:
        _read_baggage(facts, policy, now_ms, found)
    if facts.browser and facts.cookies:
        if found.remote is not None:
            found.remote = None
        _read_cookie(facts, policy, now_ms, found)
        if found.claim is None:
            _read_header(facts, policy, now_ms, found)
        return found
    if found.remote is None:
        _read_header(facts, policy, now_ms, found)
    if facts.cookies and found.remote is None and found.claim is None:
        _read_cookie(facts, policy, now_ms, found)
    if facts.bare_id and found.remote is None and found.claim is None:
        _read_bare_id(facts, policy, found)
    return found


def _read_header(facts: RequestFacts, policy: Policy, now_ms: int, found: Presented) -> None:
    if facts.tokens and policy.header_codec is not None:
        _read(facts.tokens, policy.header_codec, policy.verified_headers, policy, now_ms, found, "header")


def _read_cookie(facts: RequestFacts, policy: Policy, now_ms: int, found: Presented) -> None:
    if policy.cookie_codec is None:
        return
    # A client sends the same header again and again: what stands in it is a function of its bytes.
    headers, known = facts.cookies, policy.split_cookies
    values = known.get(headers[0]) if len(headers) == 1 else None
    if values is None:
        values = find_cookies(headers, policy.cookie_name)
        if len(headers) == 1 and len(headers[0]) <= MAX_KNOWN_BYTES:
            if len(known) >= MAX_KNOWN:
                known.clear()
            known[headers[0]] = values
    if values:
        _read(values, policy.cookie_codec, policy.verified, policy, now_ms, found, "cookie")


def _read(
    values: Iterable[bytes],
    codec: TokenCodec,
    verified: VerifiedTokens,
    policy: Policy,
    now_ms: int,
    found: Presented,
    source: Source,
) -> None:
    """Take the first value that verifies. A second one that names another session is reported, not followed."""
    limits = policy.limits
    skew_ms, max_age_ms = limits.skew_ms, limits.absolute_ms + limits.idle_ms
    ahead_ms = skew_ms + SKEW_MS  # another worker may have signed before the store had told it the time
    for raw in values:
        claim = verified.get(raw)
        if claim is None:
            outcome = codec.loads(raw, now_ms=now_ms, skew_ms=skew_ms, max_age_ms=max_age_ms, ahead_ms=ahead_ms)
            if isinstance(outcome, Rejected):
                found.reject(outcome.reason, source)
                continue
            claim = outcome
            verified.put(raw, claim)
        else:
            age_ms = now_ms - claim.issued_ms
            if not 0 <= age_ms <= max_age_ms:  # seldom; the exact answer knows the tolerance
                reason = check_times(claim, now_ms=now_ms, skew_ms=skew_ms, max_age_ms=max_age_ms, ahead_ms=ahead_ms)
                if reason is not None:
                    found.reject(reason, source)
                    continue
        if found.claim is None:
            found.claim, found.source = claim, source
        elif claim.session_id != found.claim.session_id:
            found.reject("conflict", source)


def _read_baggage(facts: RequestFacts, policy: Policy, now_ms: int, found: Presented) -> None:
    """Take our entries out of the baggage; believe them only when they are signed or the peer is trusted."""
    ours, found.baggage, problems = baggage.split(facts.baggage)
    found.stripped = bool(ours) or bool(problems)
    for problem in problems:
        found.reject(problem, "baggage")
    if names.SESSION_ID not in ours:
        if ours:
            found.reject("untrusted", "baggage")
        return
    verdict = _verdict(ours, facts, policy, now_ms)
    if verdict == "ok" and valid_session_id(ours[names.SESSION_ID]):
        found.remote, found.source = cleaned(ours, policy), "baggage"
    else:
        found.reject(verdict if verdict != "ok" else "malformed", "baggage")


def _verdict(ours: Mapping[str, str], facts: RequestFacts, policy: Policy, now_ms: int) -> str:
    judged = policy.peers.judge(facts)
    if judged == "trusted":
        return "ok"
    if policy.signer is None:
        return judged
    verdict = policy.signer.verify(ours, now_ms=now_ms, max_age_ms=BAGGAGE_MAX_AGE_MS, skew_ms=policy.limits.skew_ms)
    return judged if verdict == "missing" else verdict


def cleaned(ours: Mapping[str, str], policy: Policy) -> dict[str, str]:
    """Keep printable text of bounded length; of the user what ``user_id_mode`` shows, whatever the caller's is."""
    hide = policy.rules.hide
    cleaned = {key: clean_attribute(value, hide=hide) for key, value in ours.items() if key != names.SESSION_SIG}
    if names.USER_ID in ours:
        cleaned[names.USER_ID] = policy.hash_user(ours[names.USER_ID])
    return {key: value for key, value in cleaned.items() if value}


def _read_bare_id(facts: RequestFacts, policy: Policy, found: Presented) -> None:
    text = facts.bare_id.decode("latin-1")
    judged = policy.peers.judge(facts)
    if judged != "trusted":
        found.reject(judged, "peer")
    elif not valid_session_id(text):
        found.reject("malformed", "peer")
    else:
        found.bare_id, found.source = text, "peer"


def conversation_of(facts: RequestFacts, policy: Policy, scope_id: str) -> str | None:
    """
    Return the conversation that the request names, from its header or path.

    Args:
        facts: The request.
        policy: Knows the way from a path to its parameter.
        scope_id: User (or session, while anonymous) that the client's id belongs to.
    """
    text = facts.conversation.decode("latin-1")
    if not text and policy.conversation_of is not None:
        text = policy.conversation_of(facts)
        facts.conversation = text.encode("latin-1", "replace")  # looked up once; a handler may hand it on
    return scope_conversation_id(text, scope_id) if text else None
