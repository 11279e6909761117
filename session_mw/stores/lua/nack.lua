-- Hand leased sessions back, to be claimed again later.
--
-- KEYS: shard
-- ARGV: 1 time  2 lease token  3 how much later (ms)  4 JSON list of id, generation, id, generation ...
-- Returns how many.

local token, retry, released = ARGV[2], now + tonumber(ARGV[3]), 0
local given = cjson.decode(ARGV[4])
for i = 1, #given, 2 do
  local place, found = place_of(given[i], given[i + 1], 'k', 'a')
  if place and found[3] == token then
    call('HDEL', key_of(place), 'k')
    call('HSET', key_of(place), 'z', retry)
    call('ZREM', CLAIMED, place)
    local dead = tonumber(found[4]) > MAX_ATTEMPTS
    call('ZADD', dead and DEAD or ENDED, retry, place)
    at_least(dead and DEAD or ENDED, retry - now + NET_MS)
    released = released + 1
  end
end
return released
