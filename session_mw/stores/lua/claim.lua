-- Take a lease on sessions of one shard whose end is due, and freeze them.
--
-- KEYS: shard
-- ARGV: 1 time  2 idle  3 absolute (ms)  4 lease token  5 lease (ms)  6 at most so many  7 looks at most
-- Returns when the next one may be due (empty: none), how many live ones were filed again, and records as one JSON list.

local idle, absolute, token, lease_ms = tonumber(ARGV[2]), tonumber(ARGV[3]), ARGV[4], tonumber(ARGV[5])
local limit, looks = tonumber(ARGV[6]), tonumber(ARGV[7])
local records = {}

local function due(set, most)
  return call('ZRANGEBYSCORE', set, '-inf', now, 'LIMIT', 0, most)
end

-- What the queue knows and nothing else does was evicted or deleted: its end is reported, once, with its id.
local function lost(id)
  local at = tonumber(call('ZSCORE', QUEUE, id) or call('ZSCORE', ENDED, id) or call('ZSCORE', CLAIMED, id))
  local key = key_of(id)
  call('HSET', key, 'b', at, 'l', at, 'P', '1', 'C', '1')
  local generation = match(id, '/(%d+)$')
  if generation then
    call('HSET', key, 'g', generation)
  end
  call('PEXPIRE', key, NET_MS)
  local rec = load(id)
  freeze(id, rec, 'store_lost', at)
  return rec
end

local until_ms = int(now + lease_ms) -- as text: Redis takes long to write a number
local leased, over, again = {}, {}, {} -- for ZADD and ZREM, one call each: a sweep does this ten thousand times

local function hand_out(id, rec)
  leased[#leased + 1], leased[#leased + 2] = until_ms, id
  records[#records + 1] = told(id, rec)
end

local function lease(id, rec)
  rec.k, rec.z, rec.a = token, until_ms, int(tonumber(rec.a or 0) + 1)
  call('HSET', key_of(id), 'k', token, 'z', until_ms, 'a', rec.a)
  call('ZREM', ENDED, id)
  hand_out(id, rec)
end

-- Freeze and lease in one.
local function expire(id, rec, reason, at)
  rec.x, rec.e, rec.k, rec.z, rec.a = reason, int(at), token, until_ms, '1'
  call('HSET', key_of(id), 'x', reason, 'e', rec.e, 'k', token, 'z', until_ms, 'a', '1')
  over[#over + 1] = id
  hand_out(id, rec)
end

local function claim_from(set)
  for _, id in ipairs(due(set, limit - #records)) do
    local rec = load(id) or lost(id)
    if tonumber(rec.a or 0) > MAX_ATTEMPTS then
      call('ZREM', set, id)
      call('ZADD', DEAD, rec.z or now, id)
    else
      lease(id, rec)
    end
  end
end

local function claim_live()
  for _, id in ipairs(due(QUEUE, math.min(looks, limit - #records))) do
    local rec = load(id)
    if not rec then
      lease(id, lost(id))
    elseif rec.x then
      over[#over + 1] = id
    else
      local at, reason = deadline(rec, idle, absolute)
      if now >= at then
        expire(id, rec, reason, at)
      else
        again[#again + 1], again[#again + 2] = next_look(rec, idle, absolute), id
      end
    end
  end
end

claim_from(ENDED)
claim_from(CLAIMED)
claim_live()
if #over > 0 then
  call('ZREM', QUEUE, unpack(over))
end
if #again > 0 then
  call('ZADD', QUEUE, unpack(again))
end
if #records > 0 then
  call('ZADD', CLAIMED, unpack(leased))
  at_least(CLAIMED, lease_ms + NET_MS)
  at_least(DEAD, NET_MS)
end
local first
for _, set in ipairs({ QUEUE, ENDED, CLAIMED }) do
  local score = tonumber(call('ZRANGE', set, 0, 0, 'WITHSCORES')[2])
  first = score and math.min(first or score, score) or first
end
return { first and int(first) or '', #again / 2, '[' .. table.concat(records, ',') .. ']' }
