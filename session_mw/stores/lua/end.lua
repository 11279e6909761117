-- End a session because somebody said so.
--
-- KEYS: shard
-- ARGV: 1 time  2 id  3 reason  4 next id or empty  5 how long the pointer is kept  6 how long the report waits (ms)
--   7 "1" when nobody was there at that moment
-- Returns 1 when it was ended here.

local id, reason, next_id = ARGV[2], ARGV[3], ARGV[4] ~= '' and ARGV[4] or nil
local ttl, settle = tonumber(ARGV[5]), tonumber(ARGV[6])
local rec = load(id)

if rec and not rec.x then
  local at = math.max(now, tonumber(rec.l))
  freeze(id, rec, reason, at, next_id, at + settle)
  if ARGV[7] ~= '1' then
    call('HSET', key_of(id), 'l', at)
  end
  if next_id then
    bury(id, epitaph(rec), ttl)
  end
  return 1
end
local known = known_of(rec, tomb_of(id, rec ~= nil))
if not known then
  bury(id, { next = next_id, generation = 1, closed = true }, ttl)
  return 0
end
local closed = known.closed or closing(reason)
local follow = known.next or next_id
if closed ~= known.closed or follow ~= known.next then
  bury(id, { next = follow, generation = known.generation, closed = closed }, ttl)
end
return 0
