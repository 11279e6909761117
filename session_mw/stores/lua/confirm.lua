-- Note that session.start reached its sink.
--
-- KEYS: shard
-- ARGV: 1 time (not used)  2... ids and generations
-- Returns for how many.

local confirmed = 0
for i = 2, #ARGV, 2 do
  local place = place_of(ARGV[i], tonumber(ARGV[i + 1]))
  if place then
    call('HSET', key_of(place), 'S', '1')
    confirmed = confirmed + 1
  end
end
return confirmed
