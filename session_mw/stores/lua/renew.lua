-- Keep sessions with an open turn alive.
--
-- KEYS: shard
-- ARGV: 1 time  2 idle  3 absolute  4 turn (ms)  5... ids
-- Returns how many.

local idle, absolute, turn_ms = tonumber(ARGV[2]), tonumber(ARGV[3]), tonumber(ARGV[4])
local renewed = 0
for i = 5, #ARGV do
  local key = key_of(ARGV[i])
  local found = call('HMGET', key, 'b', 'x', 'l', 'o', 'n', 'c', 'f', 'r')
  if found[1] and not found[2] then
    local rec = { b = found[1], l = found[3], o = found[4] or 0, n = found[5], c = found[6] or 0, f = found[7] or 0 }
    rec.r = found[8] or found[1]
    local at = math.max(now, tonumber(rec.l))
    if at < deadline(rec, idle, absolute) then
      call('HSET', key, 'o', math.max(tonumber(rec.o), at + turn_ms))
      renewed = renewed + 1
    end
  end
end
return renewed
