-- Forget sessions whose end was reported; what remains is a tombstone.
--
-- KEYS: shard
-- ARGV: 1 time  2 lease token  3 how long tombstones are kept (ms)  4 JSON list of id, generation, id, generation ...
-- Returns how many.

local token, ttl = ARGV[2], tonumber(ARGV[3])
local expires = int(now + ttl) -- as text: Redis takes long to write a number
local acked, places, keys, seen, plain = 0, {}, {}, {}, { 'NX' }

-- The newest generation speaks for the id. Within one, a successor once named stays, and closed stays closed.
local function remember(old, new)
  if not old or old.generation < new.generation then
    return new
  elseif old.generation > new.generation then
    return old
  end
  return { next = old.next or new.next, generation = old.generation, closed = old.closed or new.closed }
end

local function merge(id, new)
  bury(id, remember(tomb_of(id, true), new), ttl)
end

local function forget_session(id, generation)
  local place, found = place_of(id, generation, 'k', 'x', 'v')
  if not place or found[3] ~= token or seen[place] then
    return
  end
  seen[place] = true
  acked = acked + 1
  places[acked], keys[acked] = place, key_of(place)
  local new = { next = found[5] or nil, generation = generation, closed = closing(found[4]) }
  if generation > 1 or new.closed or new.next then
    merge(id, new)
  else
    plain[#plain + 1], plain[#plain + 2] = expires, id
  end
end

local given = cjson.decode(ARGV[4])
for i = 1, #given, 2 do
  forget_session(given[i], given[i + 1])
end
if acked > 0 then
  call('DEL', unpack(keys))
  call('ZREM', CLAIMED, unpack(places))
end
-- Nearly all tombs are new and say no more than "over". Where one was there before, it is merged after all: to merge
-- one of those that were just made changes nothing.
local wanted = (#plain - 1) / 2
if wanted > 0 and call('ZADD', GRAVES, unpack(plain)) < wanted then
  for i = 3, #plain, 2 do
    merge(plain[i], { generation = 1, closed = false })
  end
end
if wanted > 0 then
  at_least(GRAVES, ttl + NET_MS)
end
return acked
