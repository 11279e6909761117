-- Write down a session that a touch in another shard decided to make.
--
-- Its id stands in a forwarding pointer already: whoever followed that may have been here first. Then this is one more
-- turn of the session.
--
-- KEYS: shard of the session
-- ARGV: 1 time  2 id  3 idle  4 absolute  5 turn (ms; empty: no turn)  6... fields and values
-- Returns its turns and its start; nothing when it is over already.

local id, turn_ms = ARGV[2], tonumber(ARGV[5])
local there = load(id)
if there and there.x then
  return {}
elseif there then
  local at = math.max(now, tonumber(there.l))
  call('HSET', key_of(id), 'l', at, 'C', '1')
  if turn_ms then
    call('HINCRBY', key_of(id), 'n', 1)
    call('HSET', key_of(id), 'o', at + turn_ms)
  end
  return { int(tonumber(there.n or 0) + (turn_ms and 1 or 0)), there.b }
end
local rec, fields = { id = id }, {}
for i = 6, #ARGV, 2 do
  rec[ARGV[i]] = ARGV[i + 1]
  fields[#fields + 1], fields[#fields + 2] = ARGV[i], ARGV[i + 1]
end
make(rec, fields, tonumber(ARGV[3]), tonumber(ARGV[4]))
return { rec.n, rec.b }
