-- Add what was worked out for the report of ends to their records, once.
--
-- KEYS: shard
-- ARGV: 1 time (not used)  2 lease token  3 name of the mark  4 JSON list of [id, generation, [name, value ...]]
-- Returns for each 1, or 0 where the lease is somebody else's by now, or something was added before.

local done = {}
for i, note in ipairs(cjson.decode(ARGV[4])) do
  local place = place_of(note[1], note[2])
  local key = place and key_of(place)
  done[i] = 0
  if place and call('HGET', key, 'k') == ARGV[2] and call('HEXISTS', key, '.' .. ARGV[3]) == 0 then
    local named = note[3]
    for j = 1, #named, 2 do
      set(key, named[j], named[j + 1])
    end
    set(key, ARGV[3], 'true')
    done[i] = 1
  end
end
return done
