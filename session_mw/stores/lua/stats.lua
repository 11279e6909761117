-- Count what there is. Nothing here walks over sessions.
--
-- KEYS: shards
-- ARGV: 1 time
-- Returns live, ended (without those set aside), claimed, set aside, tombstones, the first that is due (empty: none), and
--   the time.

local live, over, leased, aside, tombs, first = 0, 0, 0, 0, 0, nil
for _, key in ipairs(KEYS) do
  live = live + call('ZCARD', key .. ':q')
  local waiting = call('ZCARD', key .. ':e') + call('ZCARD', key .. ':c')
  local dead = call('ZCOUNT', key .. ':d', '-inf', now)
  over = over + waiting + call('ZCARD', key .. ':d') - dead
  leased = leased + call('ZCOUNT', key .. ':c', '(' .. int(now), '+inf')
  aside = aside + dead
  tombs = tombs + call('ZCARD', key .. ':g')
  for _, set in ipairs({ ':q', ':e', ':c' }) do
    local score = tonumber(call('ZRANGE', key .. set, 0, 0, 'WITHSCORES')[2])
    if score and score <= now then
      first = math.min(first or score, score)
    end
  end
end
return { live, over, leased, aside, tombs, first and int(first) or '', int(now) }
