-- Add what turns brought to sessions of one shard.
--
-- KEYS: shard
-- ARGV: 1 time (not used)  2 JSON list of [id, generation, at, completed, failed, latency, input tokens, output tokens,
--   cost, user, [name, value, name, value ...]]; false is unknown, and a value that is to be removed
--   3 lane  4 number: what has that number in its lane, or a lower one, was done before; without them nothing is kept
--   5 how long that is kept (ms)
-- Returns for each 1, or 0 where the end was reported, or nothing is known of the session.

local LARGEST = '9223372036854775807' -- one absurd number must not stop all others

local function sum(key, field, more)
  local done = redis.pcall('HINCRBY', key, field, int(more))
  if type(done) == 'table' and done.err then
    call('HSET', key, field, LARGEST)
  end
end

local function add(item)
  local id, found = place_of(item[1], item[2], 'x', 'a', 'l', 'e', 'w')
  if not id or (found[3] and tonumber(found[4] or 0) > 0) then
    return 0
  end
  local key = key_of(id)
  local at = found[3] and math.min(item[3], tonumber(found[6])) or item[3]
  if at > tonumber(found[5]) then
    call('HSET', key, 'l', int(at))
  end
  for place, field in ipairs({ 'c', 'f', 't' }) do
    if item[3 + place] ~= 0 then
      sum(key, field, item[3 + place])
    end
  end
  for place, field in ipairs({ 'i', 'u', 'm' }) do
    if item[6 + place] then
      sum(key, field, item[6 + place])
    end
  end
  if not found[7] and item[10] then
    call('HSET', key, 'w', item[10])
  end
  local named = item[11]
  for i = 1, #named, 2 do
    if named[i + 1] then
      set(key, named[i], named[i + 1])
    else
      forget(key, named[i])
    end
  end
  return 1
end

local lane = ARGV[3] and shard .. ':w:' .. ARGV[3]
local known, said = match(lane and call('GET', lane) or '', '^(%d+):([01]*)$')
local items, done = cjson.decode(ARGV[2]), {}
if known and tonumber(known) >= tonumber(ARGV[4]) then
  for i = 1, #items do
    done[i] = known == ARGV[4] and tonumber(sub(said, i, i)) or 1 -- of an older one nobody hears any more
  end
  return done
end
for i, item in ipairs(items) do
  done[i] = add(item)
end
if lane then
  call('SET', lane, ARGV[4] .. ':' .. table.concat(done), 'PX', ARGV[5])
end
return done
