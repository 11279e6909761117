-- Look where ends are set aside. All shards of a node without cluster in one call; in a cluster one.
--
-- KEYS: shards
-- ARGV: 1 time
-- Returns for each shard how many.

local found = {}
for i, key in ipairs(KEYS) do
  found[i] = call('ZCOUNT', key .. ':d', '-inf', now)
end
return found
