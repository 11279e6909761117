-- Let ends that were set aside be claimed again. Counting begins anew at 1: at 0 they would take numbers again.
--
-- KEYS: shard
-- ARGV: 1 time  2 at most so many
-- Returns how many.

local revived = 0
for _, id in ipairs(call('ZRANGEBYSCORE', DEAD, '-inf', now, 'LIMIT', 0, ARGV[2])) do
  if call('EXISTS', key_of(id)) == 1 then -- else its record was evicted: the next claim reports that
    call('HSET', key_of(id), 'a', '1')
  end
  call('ZREM', DEAD, id)
  call('ZADD', ENDED, now, id)
  revived = revived + 1
end
if revived > 0 then
  at_least(ENDED, NET_MS)
end
return revived
