"""
What sends: clients that carry the session to services, child processes and queues.

``httpx``, ``requests`` and ``aiohttp`` are for applications without OpenTelemetry's instrumentations of these. With
them, ``session_mw.instrument()`` is enough (the middleware calls it), and using both is harmless. ``processes`` is for
child processes.
"""
