-- Begin a turn, or note activity: extend the session, start it, or start its successor.
--
-- KEYS: shard of the presented session (of the new one, when none was presented); the conversation's counter, if a turn
--   of it is to be counted too and it may be reached from here
-- ARGV: 1 time  2 presented id  3 idle  4 absolute  5 turn  6 skew  7 settle (all ms)  8 user given  9 user claimed
--   10 letters: t turn, o own, k keep, m may make a session: the rest is given, e the new id lies in another shard
--   11 how long the conversation's counter is kept  12 new id  13 previous  14 origin  15 turns to recover  16 partial
--   17 how many may live in this shard (empty: no bound)  18... attributes, names and values
-- Returns a JSON list (see tell); '?' when a session has to be made and "m" is not among the letters, nothing is
--   changed then; or {list, fields ...} of a session that has to be made in another shard.

local id, idle, absolute, turn_ms = ARGV[2], tonumber(ARGV[3]), tonumber(ARGV[4]), tonumber(ARGV[5])
local skew, settle = tonumber(ARGV[6]), tonumber(ARGV[7])
local given, claimed, letters = ARGV[8], ARGV[9], ARGV[10]
local turn, own, keep = string.find(letters, 't'), string.find(letters, 'o'), string.find(letters, 'k')
local new_id = ARGV[12]

local function present(text)
  return text ~= nil and text ~= '' and text or nil
end

given, claimed = present(given), present(claimed)
local user = given or claimed

local function counted()
  return KEYS[2] and turn and int(count(KEYS[2], tonumber(ARGV[11]))) or NUL
end

-- In the order of the fields of Touched.
local function tell(outcome, told_id, rec, at, attributes, rested)
  local held = outcome ~= 'unstored'
  return '["' .. outcome .. '",' .. table.concat({
    quoted(told_id), held and (rec.n or '0') or NUL, int(rec.b), int(at), int(rec.r or rec.b), rec.g or '1',
    quoted(rec.p), rec.w or NUL, held and counted() or NUL, attributes, rested,
  }, ',') .. ']'
end

local function extend(rec, at)
  local fields = { 'l', at }
  if not rec.w and user then
    rec.w = user
    fields[#fields + 1], fields[#fields + 2] = 'w', user
  end
  if not rec.y and claimed and claimed == rec.w then
    fields[#fields + 1], fields[#fields + 2] = 'y', at
  end
  if not rec.C then
    fields[#fields + 1], fields[#fields + 2] = 'C', '1'
  end
  if turn then
    rec.n = int(tonumber(rec.n or 0) + 1)
    fields[#fields + 1], fields[#fields + 2] = 'n', rec.n
    fields[#fields + 1], fields[#fields + 2] = 'o', at + turn_ms
  end
  call('HSET', key_of(id), unpack(fields))
  return tell('extended', id, rec, at, attributes_of(rec), int(at - tonumber(rec.l)))
end

-- A session that begins here, before it is written.
local function draft(outcome, at, made_id, previous, more)
  local made = { outcome = outcome, id = made_id, b = at, l = at, g = more.generation, at = at }
  made.n = turn and 1 or 0
  made.o = turn and at + turn_ms or nil
  made.w = more.user
  if more.carry ~= false and outcome ~= 'refused' then
    made.w = made.w or user
  elseif outcome == 'refused' then
    made.w = given
  end
  made.y = made.w and made.w == claimed and made_id == id and at or nil
  made.p = previous ~= made_id and previous or nil
  local origin = more.origin and math.min(more.origin, at) or at
  made.r = origin ~= at and origin or nil
  made.C = (more.confirmed or outcome == 'rotated' or outcome == 'renewed') and '1' or nil
  made.P = present(ARGV[16])
  return made
end

local function recovered(turns)
  local started = math.min(tonumber(ARGV[14]) or now, now)
  local made = draft('recovered', now, id, present(ARGV[13]), { origin = started, confirmed = true })
  made.b, made.r, made.R = started, nil, '1'
  made.n = made.n + turns
  made.c = turns -- what became of them is not known; they are not open
  return made
end

-- Decide about an id of which the store knows nothing. Returns what to make, and the id to forward to.
local function unknown()
  if own or keep then
    local more = { origin = tonumber(ARGV[14]), confirmed = true }
    return draft('started', now, id, present(ARGV[13]), more)
  elseif tonumber(ARGV[15]) then
    return recovered(tonumber(ARGV[15]))
  end
  return draft('rotated', now, new_id, present(ARGV[13]), {}), new_id
end

-- Decide about one that has ended: "at" is the time as its state tells it.
local function after_end(at, tomb)
  if keep then
    return draft('renewed', at, id, nil, { generation = tomb.generation + 1 })
  end
  return draft('rotated', at, new_id, id, { user = tomb.closed and given or nil, carry = not tomb.closed }), new_id
end

-- Make way for the next generation: the one before keeps its place in the queue under a name of its own.
local function set_aside(rec)
  local aside = id .. '/' .. (rec.g or '1')
  call('RENAME', key_of(id), key_of(aside))
  for _, set in ipairs({ ENDED, CLAIMED, DEAD }) do
    local score = call('ZSCORE', set, id)
    if score then
      call('ZREM', set, id)
      call('ZADD', set, score, aside)
    end
  end
end

local function fields_of(made)
  local fields = {}
  for _, name in ipairs({ 'b', 'r', 'l', 'o', 'n', 'c', 'w', 'y', 'p', 'R', 'C', 'P' }) do
    if made[name] then
      fields[#fields + 1], fields[#fields + 2] = name, made[name]
    end
  end
  if made.g and made.g ~= '1' then
    fields[#fields + 1], fields[#fields + 2] = 'g', made.g
  end
  for i = 18, #ARGV, 2 do
    put(fields, ARGV[i], ARGV[i + 1])
  end
  return fields
end

local rec = id ~= '' and load(id) or nil
local frozen, made, forward, known -- frozen: {reason, at, lease until}

if id == '' then
  made = draft('started', now, new_id, nil, {})
elseif rec and not rec.x then
  local at = math.max(now, tonumber(rec.l))
  local due, reason = deadline(rec, idle, absolute)
  if at >= due then
    frozen = { reason, due }
    made, forward = after_end(now, { generation = tonumber(rec.g or 1), closed = false })
  elseif not rec.w or rec.w == user then
    return extend(rec, at)
  elseif not user then
    if keep or not rec.y or at < tonumber(rec.y) + skew then
      return extend(rec, at)
    end
    made = draft('refused', at, new_id, nil, {})
  elseif keep then
    frozen = { 'replaced', at, at + settle }
    made, forward = after_end(at, { generation = tonumber(rec.g or 1), closed = false })
  else
    frozen = { 'replaced', at, at + settle }
    made, forward = draft('rotated', at, new_id, id, { user = user }), new_id
  end
else
  known = known_of(rec, tomb_of(id, rec ~= nil))
  if not known then
    made, forward = unknown()
  elseif known.next and not keep then
    return '["moved",' .. quoted(known.next) .. ',null,' .. int(now) .. ',' .. int(now) .. ']'
  else
    made, forward = after_end(now, known)
  end
end

if not string.find(letters, 'm') then
  return '?'
end
made.g = made.g and int(made.g)
-- What ends by this very touch makes room for what follows it. Where that lies in another shard, this one's room is
-- asked for all the same: the other cannot be looked into from here.
local most = tonumber(ARGV[17])
if most and not frozen and call('ZCARD', QUEUE) >= most then
  return tell('unstored', made.id, made, made.at, NUL, NUL)
end
local fields = fields_of(made)
made.n = int(made.n)
if frozen then
  freeze(id, rec, frozen[1], frozen[2], forward, frozen[3])
  known = epitaph(rec)
end
if forward then
  local tomb = known or { generation = 1, closed = false }
  bury(id, { next = forward, generation = tomb.generation, closed = tomb.closed }, 2 * idle + skew)
end
if rec and rec.x and made.id == id then
  set_aside(rec)
end
local answer = tell(made.outcome, made.id, made, made.at, NUL, NUL)
if string.find(letters, 'e') and made.id == new_id then
  return { answer, unpack(fields) }
end
if made.id == id then -- it lives: what is still remembered of it is void
  call('ZREM', GRAVES, id)
  call('DEL', shard .. ':t:' .. id)
end
make(made, fields, idle, absolute)
return answer
