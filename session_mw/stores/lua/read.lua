-- Read the newest record of a session.
--
-- KEYS: shard
-- ARGV: 1 time (not used)  2 id
-- Returns it as a JSON list, or nothing.

local rec = load(ARGV[2])
return rec and told(ARGV[2], rec)
