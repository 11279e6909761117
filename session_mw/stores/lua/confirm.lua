-- Note that session.start reached its sink.
--
-- KEYS: shard
-- ARGV: 1 time (not used)  2 JSON list of id, generation, id, generation ...
-- Returns for how many.

local confirmed = 0
local given = cjson.decode(ARGV[2])
for i = 1, #given, 2 do
  local place = place_of(given[i], given[i + 1])
  if place then
    call('HSET', key_of(place), 'S', '1')
    confirmed = confirmed + 1
  end
end
return confirmed
