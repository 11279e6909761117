"""
The settings: name, type, default, description, and beside each default its reason.

A reason stands above its setting; where settings share one, it stands above the first.
"""

from __future__ import annotations

from pydantic import Field
from pydantic_settings import BaseSettings, SettingsConfigDict

from session_mw._durations import DAY, HOUR, MINUTE
from session_mw._settings import types as t

ENV_FILE = ".env"


class SettingsFields(BaseSettings):
    """The fields of ``SessionSettings``, which adds sources, checks and access to keys."""

    model_config = SettingsConfigDict(
        env_prefix="SESSION_MW_",
        env_file=ENV_FILE,
        env_file_encoding="utf-8",
        extra="forbid",
        frozen=True,
        hide_input_in_errors=True,
        validate_default=False,  # tests do it once; a user's start should not
    )

    # --- Keys. Derived per purpose, so one secret is enough to begin with (OWASP ASVS 5.0, 11.1.2).
    secret_key: t.Secret = Field(description="Signs session tokens. The same for all workers of one application.")
    # No rotation at first.
    secret_key_fallbacks: t.Secrets = Field(
        (), description="Older secret keys, still accepted; their tokens are signed anew. Needs user_hash_key."
    )
    # Derived from secret_key, so that pseudonyms are keyed even when nobody thought of it.
    user_hash_key: t.OptionalSecret = Field(
        None, description="Makes the user pseudonyms; from secret_key when unset. Never change it, or all users change."
    )
    # Derived too; set it when services that must read our baggage should not be able to make cookies.
    baggage_key: t.OptionalSecret = Field(
        None, description="Signs baggage between services; from secret_key when unset. Shared by all of them."
    )
    baggage_key_fallbacks: t.Secrets = Field((), description="Older baggage keys, still accepted.")

    # --- Cookie and headers
    # Browsers are the common client and need nothing else.
    issue: t.Issue = Field("cookie", description="How a client is given its token.")
    # The prefix makes browsers refuse the cookie from subdomains and plain http (OWASP ASVS 5.0, 3.3.3); the name is
    # ours alone, since "session" belongs to Flask, Starlette and others.
    cookie_name: t.CookieName = Field("__Host-session_mw", description="Name of the session cookie.")
    # OWASP ASVS 5.0, 3.3.1; NIST SP 800-63B-4 5.1.1.
    cookie_secure: t.Switch = Field(True, description="Send the cookie over https only.")
    # "strict" would start a new session for everybody who follows a link from a mail.
    cookie_samesite: t.SameSite = Field("lax", description="When the browser sends it with requests of other sites.")
    # Host-only, the narrowest scope.
    cookie_domain: t.CookieDomain = Field(None, description="Domain that shares the cookie; unset: this host only.")
    # One session for the whole host; required by __Host-.
    cookie_path: t.CookiePath = Field("/", description="Path below which the browser sends the cookie.")
    # Only embedded pages need it (CHIPS).
    cookie_partitioned: t.Switch = Field(False, description="Keep one cookie for each site that embeds this one.")
    # See refresh_seconds.
    refresh_interval: t.OptionalDuration = Field(
        None, description="Write the token anew when it is older; unset: idle_timeout / 6. Under idle_timeout / 2."
    )
    # They say what they are, and are no vendor's: clients of agents send X-Session-ID with ids of their own.
    token_header: t.HeaderName = Field(
        "X-Session-Token", description="Header of the token for clients without cookies."
    )
    conversation_header: t.HeaderName = Field("X-Conversation-ID", description="Header that names the conversation.")
    # Only the application knows its routes.
    conversation_path_param: t.PathParameter = Field(
        None, description="Parameter of the route that names the conversation, as conversation_id."
    )
    # Ids tell nothing unless asked to.
    session_id_prefix: t.IdPrefix = Field(None, description="Readable beginning of session ids, as 'chat-'.")

    # --- What the session is. Unset: no attribute, or found out from the request (channel, type).
    session_type: t.Label = Field(None, description="Value of session.type, as 'chat' or 'batch'; unset: found out.")
    session_name: t.Label = Field(None, description="Value of session.name.")
    prompt_version: t.Label = Field(None, description="Value of session.prompt_version, to compare versions by.")
    channel: t.Label = Field(None, description="Value of session.channel; unset: web or api, by the request.")
    # The framework's own user is found by the integrations.
    user: t.Function = Field(None, description="Function from a request to the id of its user, or None.")
    # Raw ids in telemetry are personal data (GDPR art. 4(5)); a keyed hash still tells users apart.
    user_id_mode: t.UserIdMode = Field(
        "hash", description="What stands in user.id: a pseudonym, the id itself, nothing."
    )

    # --- Lifecycle
    # Works at once; several workers need a store they share, and are told so in the log.
    store: t.Store = Field("memory://", description="Where live sessions are kept.")
    # A database holds both; Redis and memory are no place for history.
    ledger: t.Ledger = Field(None, description="Where history is kept; unset: the store's own database.")
    # What web analytics call a session (GA4); within the hour of NIST SP 800-63B-4, AAL2.
    idle_timeout: t.Duration = Field(30 * MINUTE, description="A session ends after so long without activity.")
    # NIST SP 800-63B-4, AAL2: at most 24 hours.
    absolute_timeout: t.Duration = Field(
        24 * HOUR, description="A session ends so long after its start, whatever happens."
    )
    # Longer than nearly every agent run; a turn whose worker was killed holds its session open for so long.
    turn_timeout: t.Duration = Field(
        10 * MINUTE, description="A turn that is cut off (its process died) keeps its session alive for so long."
    )
    # Hosts without time service drift by seconds; iron-session allows the same minute.
    clock_skew: t.DurationOrZero = Field(1 * MINUTE, description="How far clocks of workers may differ.")
    # Ends must be reported without a further request.
    sweep: t.Sweep = Field(
        "thread", description="Who ends due sessions: a thread, requests in passing, or nobody here."
    )
    # Memory is bounded by the host, not by a guess of ours.
    max_live: t.LiveLimit = Field(
        None,
        description="Most live sessions to keep; in a full store, others pass untracked, counted.",
    )
    # Long enough to compare prompt versions and weekly cohorts, short enough for data minimisation (GDPR art. 5(1)(c)).
    ledger_retention: t.OptionalDuration = Field(30 * DAY, description="How long history is kept; none: for ever.")
    # What people wrote is the most personal part of it; whoever captures it may have promised to keep it for less.
    content_retention: t.OptionalDuration = Field(
        None, description="How long what was said is kept, if less than the rest of the history."
    )
    # Log records are where OpenTelemetry's session events belong.
    event_sink: t.Sinks = Field(
        None, description="Where session.start and session.end go; unset: the logger provider, and the ledger."
    )

    # --- Turns
    # What probes, scrapers and browsers ask for by themselves.
    exclude_paths: t.ExcludedPaths = Field(
        (
            *("/health", "/health/", "/healthz", "/livez", "/readyz", "/ready", "/live", "/ping", "/metrics"),
            *("/favicon.ico", "/robots.txt", "/apple-touch-icon*", "/static/*", "/assets/*"),
            "/_stcore/*",  # Streamlit's own: the page's runs are tracked where they run
        ),
        description="Paths that are left alone: no span, no cookie.",
    )
    # The built-in rule: writes, event streams, and reads of programs; not a browser's page loads.
    turn_methods: t.TurnMethods = Field(None, description="Methods that begin a turn, in place of the built-in rule.")
    turn_paths: t.TurnPaths = Field(None, description="Paths that begin a turn, in place of the built-in rule.")
    turn_when: t.Function = Field(None, description="Function that decides whether a request or message is a turn.")
    # A chat's message is an exchange; its connection is not.
    websocket_turns: t.WebsocketTurns = Field("message", description="What is a turn on a websocket.")
    # Only the application knows its bodies.
    input_text: t.TextSource = Field(None, description="Where the user's words are in the request.")
    output_text: t.TextSource = Field(None, description="Where the answer is in the response.")

    # --- Trust
    # Nobody: an id from outside is a claim, not a fact (OWASP ASVS 5.0, 4.1.3).
    trusted_peers: t.Peers = Field((), description="Networks whose session headers and baggage are believed unsigned.")
    # Forwarded headers are the client's own words unless a proxy of yours wrote them.
    trusted_proxies: t.Proxies = Field(
        0, description="Proxies in front, counted or named, whose forwarded headers say who the peer is."
    )
    # So that services believe each other without lists of networks.
    sign_baggage: t.Switch = Field(True, description="Sign the session's entries in outgoing baggage.")
    # Your own services, as development, Docker, Kubernetes and the clouds name them; never a third party's API.
    propagate_to: t.Hosts = Field(
        ("loopback", "single-label", "*.local", "*.internal", "*.svc", "*.cluster.local"),
        description="Hosts that are told session and user in baggage.",
    )
    # Browser and mobile traces stay whole; a public API may want "trusted".
    continue_trace: t.ContinueTrace = Field("always", description="Whose traceparent is continued.")

    # --- Telemetry
    # One server span, ours or the one that an instrumentation made.
    server_span: t.AutoAlwaysNever = Field(
        "auto", description="Whether we make the server span; auto: if there is none."
    )
    # Every trace shows its session.
    session_span: t.SessionSpan = Field("request", description="A session span in every request, the first, or none.")
    # Whoever looks for a session finds all of it. Back ends that take each trace for a turn (Phoenix, MLflow, Opik,
    # LangSmith) want turns only: a page that was loaded first would be the session's first turn, and say nothing.
    stamp_spans: t.StampSpans = Field(
        "all", description="Whose spans say the session: all requests', or turns only, for back ends that count traces."
    )
    # Most back ends for LLM traces read OpenInference's names, and none of them is in another's way.
    dialects: t.Dialects = Field(frozenset({"openinference"}), description="Back ends whose own names are written too.")
    # Prompts and answers are personal data (OWASP ASVS 5.0, 16.2.5); lengths are not.
    capture_content: t.Switch = Field(False, description="Write what was said onto spans.")
    # Holds nearly every message whole, and sixty of them fit into the 4 MiB that a gRPC receiver takes by default.
    content_limit: t.ContentSize = Field(64 * 1024, description="Captured content is cut to so many bytes.")
    redact: t.Function = Field(None, description="Function from captured content to what may be shown.")
    # Unknown is better than a guess.
    price_for: t.Function = Field(None, description="Function from model and tokens to US dollars, or None.")
    # Back ends without logs would never learn that a session ended.
    lifecycle_spans: t.AutoAlwaysNever = Field(
        "auto", description="session.start and session.end as spans too; auto: if there is no logger provider."
    )
