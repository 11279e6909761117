-- Count a turn of a conversation.
--
-- KEYS: shard of the conversation; its counter
-- ARGV: 1 time  2 how long it is kept (ms)
-- Returns the number of the turn.

return count(KEYS[2], tonumber(ARGV[2]))
