-- Forget sessions whose end was reported; what remains is a tombstone.
--
-- KEYS: shard
-- ARGV: 1 time  2 lease token  3 how long tombstones are kept (ms)  4... ids and generations
-- Returns how many.

local token, ttl, acked = ARGV[2], tonumber(ARGV[3]), 0

-- The newest generation speaks for the id. Within one, a successor once named stays, and closed stays closed.
local function remember(old, new)
  if not old or old.generation < new.generation then
    return new
  elseif old.generation > new.generation then
    return old
  end
  return { next = old.next or new.next, generation = old.generation, closed = old.closed or new.closed }
end

for i = 4, #ARGV, 2 do
  local id, generation = ARGV[i], tonumber(ARGV[i + 1])
  local place, found = place_of(id, generation, 'k', 'x', 'v')
  if place and found[3] == token then
    local new = { next = found[5] or nil, generation = generation, closed = closing(found[4]) }
    call('DEL', key_of(place))
    call('ZREM', CLAIMED, place)
    bury(id, remember(tomb_of(id, true), new), ttl)
    acked = acked + 1
  end
end
return acked
