-- Look where something is due. All shards of a node without cluster in one call; in a cluster one.
--
-- KEYS: shards
-- ARGV: 1 time
-- Returns the time, and for each shard when the first of its sessions is due, empty when there is none.

local found = {}
for i, key in ipairs(KEYS) do
  local first
  for _, set in ipairs({ ':q', ':e', ':c' }) do
    local score = tonumber(call('ZRANGE', key .. set, 0, 0, 'WITHSCORES')[2])
    first = score and math.min(first or score, score) or first
  end
  found[i] = first and int(first) or ''
end
return { int(now), found }
