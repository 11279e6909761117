"""
``session-mw ledger import``: sessions of applications in any language, from files of OTLP.

Three passes, so that files of any size and in any order fit into a bounded memory: files into a private SQLite database
(``gathered``; the system deletes it, whatever happens), its spans trace by trace into turns (``traces``), its turns
session by session into the history (``writing``). Bounds: 64 MB for one line, or one span of a document; 256 MB for a
binary request; 50,000 spans of a trace; 32 MB of cache; what the history has of one session.
"""
