"""
The sans-I/O core: what sessions are and how they change, and nothing else.

Rule 1: stdlib and itsdangerous only. No clock, no randomness, no environment, no threads, no logging, no
OpenTelemetry: the time and every new identifier are arguments. import-linter checks this.

Rule 2: what a client sends never raises here. It becomes a value (``Rejected``) that the shell reports.

Rule 3: I/O is asked for, not done: flows are generators that yield store operations and are sent the results, so
that one piece of logic serves synchronous and asynchronous servers alike.

Times are int milliseconds since the epoch, UTC.
"""
