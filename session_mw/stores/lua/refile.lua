-- Put sessions that no queue knows back into theirs.
--
-- KEYS: shard
-- ARGV: 1 time  2... ids, as their keys have them
-- Returns how many.

local filed = 0
for i = 2, #ARGV do
  local id = ARGV[i]
  local known = false
  for _, set in ipairs({ QUEUE, ENDED, CLAIMED, DEAD }) do
    known = known or call('ZSCORE', set, id)
  end
  local rec = not known and call('HMGET', key_of(id), 'b', 'x', 'z')
  if rec and rec[1] then -- looked at soon: then it is found out when it is due
    local set = rec[2] and ENDED or QUEUE
    call('ZADD', set, rec[3] and math.max(now, tonumber(rec[3])) or now, id)
    at_least(set, NET_MS)
    filed = filed + 1
  end
end
return filed
