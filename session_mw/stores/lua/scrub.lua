-- Remove tombstones that have expired.
--
-- KEYS: shard
-- ARGV: 1 time  2 at most so many
-- Returns how many.

local removed = 0
for _, id in ipairs(call('ZRANGEBYSCORE', GRAVES, '-inf', now, 'LIMIT', 0, ARGV[2])) do
  if call('EXISTS', key_of(id)) == 1 then -- its end has not been reported: until then it speaks for the id
    call('ZADD', GRAVES, now + 60000, id)
  else
    call('ZREM', GRAVES, id)
    call('DEL', shard .. ':t:' .. id)
    removed = removed + 1
  end
end
return removed
