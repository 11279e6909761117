-- What every script knows: how a record is laid out, when it is due, what is remembered of it.
-- Decides as session_mw/_core/lifecycle.py does; a property test holds the two against each other.
--
-- KEYS[1] is the name of a shard, "{prefix:number}". Every key of the shard carries this tag, so all of them lie in its
-- slot, also those whose names are put together here:
--
--   <shard>:s:<id>        hash: a session; of an id used again, <id>/<generation> are earlier ones not reported yet
--   <shard>:t:<id>        text: what its tombstone says, where it says more than "over"
--   <shard>:q             when to look at live sessions     (sorted sets of ids by milliseconds since the epoch)
--   <shard>:e             from when ended ones may be claimed
--   <shard>:c             until when claimed ones are leased
--   <shard>:d             set aside after too many attempts
--   <shard>:g             until when tombstones are kept
--   <shard>:v:<id>        text: a conversation's count of turns, and until when it is kept
--   <shard>:w:<lane>      text: the number of the last batch of a writer, and what came of it
--
-- Fields of a session, each 64 bytes or less, so that Redis keeps the hash in one flat piece (430 bytes a session
-- instead of 1,200). Absent is unknown, zero or false:
--   b started  r origin (absent: started)  l last  o open until  n turns  c completed  f failed  t latency
--   i input tokens  u output tokens  m cost  w user (JSON)  y bound  p previous  g generation (absent: 1)
--   S start reported  C confirmed  R recovered  P partial
--   x reason  e ended  v next  k lease token  z lease until  a attempts
--   .<name> an attribute: name and value as JSON; longer ones go on in fields with \1, \2 ... behind the name
--
-- ARGV[1] is the time, empty for the server's own: then the store's clock decides, whatever a worker's says.

local call = redis.call
local find, sub, byte, char, match = string.find, string.sub, string.byte, string.char, string.match
local shard = KEYS[1]
local QUEUE, ENDED, CLAIMED, DEAD, GRAVES = shard .. ':q', shard .. ':e', shard .. ':c', shard .. ':d', shard .. ':g'
local PIECE, PIECES = 64, 8
local NET_MS = 72 * 3600000 -- what nobody sweeps any more goes by itself, so long after its last possible use
local NUL = 'null'

local now = tonumber(ARGV[1])
if not now then
  local time = call('TIME')
  now = time[1] * 1000 + math.floor(time[2] / 1000)
end

local function int(number)
  return string.format('%.0f', number)
end

local function at_least(key, ttl)
  if call('PTTL', key) < ttl then
    call('PEXPIRE', key, ttl)
  end
end

local SESSIONS = shard .. ':s:'
local function key_of(id)
  return SESSIONS .. id
end

local function load(id)
  local flat = call('HGETALL', key_of(id))
  if #flat == 0 then
    return nil
  end
  local rec, names = {}, {}
  for i = 1, #flat, 2 do
    local field = flat[i]
    rec[field] = flat[i + 1]
    if #field > 1 or field == '.' then
      names[#names + 1] = field
    end
  end
  rec.names = names
  return rec
end

-- Where the record of one generation lies (the newest under the id, an earlier one aside), and some of its fields.
local function place_of(id, generation, ...)
  local found = call('HMGET', key_of(id), 'g', 'b', ...)
  if found[2] and tonumber(found[1] or 1) == generation then
    return id, found
  end
  local aside = id .. '/' .. int(generation)
  found = call('HMGET', key_of(aside), 'g', 'b', ...)
  return found[2] and aside or nil, found
end

local function deadline(rec, idle, absolute)
  local due = tonumber(rec.l) + idle
  local open = tonumber(rec.o or 0)
  if open > due and tonumber(rec.n or 0) > tonumber(rec.c or 0) + tonumber(rec.f or 0) then
    due = open
  end
  local last = tonumber(rec.r or rec.b) + absolute
  if last <= due then
    return last, 'max_lifetime'
  end
  return due, 'idle_timeout'
end

local function next_look(rec, idle, absolute)
  return math.min(deadline(rec, idle, absolute), math.max(now, tonumber(rec.l)) + idle)
end

local function closing(reason)
  return reason == 'user_exit' or reason == 'replaced'
end

-- End a session: from here on no number in it changes. It may be claimed from lease_until on.
local function freeze(id, rec, reason, at, next_id, lease_until)
  rec.x, rec.e = reason, int(at)
  local fields = { 'x', reason, 'e', rec.e }
  if next_id then
    rec.v = next_id
    fields[#fields + 1] = 'v'
    fields[#fields + 1] = next_id
  end
  if lease_until then
    rec.z = int(lease_until)
    fields[#fields + 1] = 'z'
    fields[#fields + 1] = rec.z
  end
  call('HSET', key_of(id), unpack(fields))
  call('ZREM', QUEUE, id)
  call('ZADD', ENDED, math.max(at, lease_until or 0), id)
  at_least(ENDED, NET_MS)
end

-- Write down a session that begins.
local function make(rec, fields, idle, absolute)
  local key = key_of(rec.id)
  for from = 1, #fields, 1000 do
    call('HSET', key, unpack(fields, from, math.min(from + 999, #fields)))
  end
  call('PEXPIRE', key, absolute + NET_MS)
  call('ZADD', QUEUE, next_look(rec, idle, absolute), rec.id)
  at_least(QUEUE, absolute + NET_MS)
end

-- Count a turn of a conversation; forgotten so long after the last one.
local function count(key, ttl)
  local turns, expires = match(call('GET', key) or '', '^(%d+) (%d+)$')
  turns = turns and tonumber(expires) > now and tonumber(turns) + 1 or 1
  call('SET', key, int(turns) .. ' ' .. int(now + ttl), 'PX', int(ttl + NET_MS))
  return turns
end

-- Tombstones. One that says no more than "over" is a member of the sorted set and nothing else.

local function epitaph(rec)
  return { next = rec.v, generation = tonumber(rec.g or 1), closed = closing(rec.x) }
end

local function tomb_of(id, kept)
  local expires = call('ZSCORE', GRAVES, id)
  if not expires or (not kept and tonumber(expires) <= now) then
    return nil
  end
  local text = call('GET', shard .. ':t:' .. id)
  if not text then
    return { generation = 1, closed = false }
  end
  local generation, closed, next_id = match(text, '^(%d+) ([01]) (.*)$')
  return { generation = tonumber(generation), closed = closed == '1', next = next_id ~= '' and next_id or nil }
end

local function bury(id, tomb, ttl)
  local expires = now + (tomb.closed and math.max(ttl, CLOSED_MS) or ttl)
  local before = call('ZSCORE', GRAVES, id)
  expires = math.max(expires, tonumber(before or 0))
  call('ZADD', GRAVES, expires, id)
  at_least(GRAVES, expires - now + NET_MS)
  local key = shard .. ':t:' .. id
  if tomb.generation == 1 and not tomb.closed and not tomb.next then
    if before then
      call('DEL', key)
    end
  else
    local text = int(tomb.generation) .. ' ' .. (tomb.closed and '1' or '0') .. ' ' .. (tomb.next or '')
    call('SET', key, text, 'PX', int(expires - now + NET_MS))
  end
end

-- What speaks for an ended session: its record, or a tombstone unless that is of an older generation.
local function known_of(rec, tomb)
  if not rec or (tomb and tomb.generation >= tonumber(rec.g or 1)) then
    return tomb
  end
  return epitaph(rec)
end

-- Attributes. Texts are JSON already, names and values: Lua has one kind of number, and they have two.

local function put(fields, name, text)
  if #text <= PIECE or #text > PIECE * PIECES then
    fields[#fields + 1], fields[#fields + 2] = '.' .. name, text
    return
  end
  for piece = 0, math.floor((#text - 1) / PIECE) do
    fields[#fields + 1] = '.' .. name .. (piece > 0 and char(piece) or '')
    fields[#fields + 1] = sub(text, piece * PIECE + 1, (piece + 1) * PIECE)
  end
end

local function forget(key, name)
  local field = '.' .. name
  if call('HSTRLEN', key, field) == PIECE then
    for piece = 1, PIECES - 1 do
      call('HDEL', key, field .. char(piece))
    end
  end
  call('HDEL', key, field)
end

local function set(key, name, text)
  local field = '.' .. name
  if #text < PIECE and call('HSTRLEN', key, field) < PIECE then -- nearly always
    call('HSET', key, field, text)
    return
  end
  forget(key, name)
  local fields = {}
  put(fields, name, text)
  call('HSET', key, unpack(fields))
end

local function attributes_of(rec)
  local out = {}
  for _, field in ipairs(rec.names) do
    if byte(field, -1) >= 32 then
      local text = rec[field]
      if #text == PIECE then
        local piece = 1
        while rec[field .. char(piece)] do
          text = text .. rec[field .. char(piece)]
          piece = piece + 1
        end
      end
      out[#out + 1] = '"' .. sub(field, 2) .. '":' .. text
    end
  end
  return '{' .. table.concat(out, ',') .. '}'
end

-- Most texts have nothing in them that JSON writes otherwise.
local function quoted(text)
  if not text then
    return NUL
  end
  return find(text, '[^%w._-]') and cjson.encode(text) or '"' .. text .. '"'
end

local function flag(value)
  return value and 'true' or 'false'
end

-- A whole record as a JSON list, in the order of the fields of SessionRecord.
local function told(id, rec)
  -- One expression: Lua puts it together in one go, without a table.
  return '[' .. quoted(match(id, '^[^/]+')) .. ',' .. rec.b .. ',' .. rec.l .. ',' .. (rec.g or '1')
    .. ',' .. (rec.r or rec.b) .. ',' .. (rec.o or '0') .. ',' .. (rec.n or '0') .. ',' .. (rec.c or '0')
    .. ',' .. (rec.f or '0') .. ',' .. (rec.t or '0') .. ',' .. (rec.i or NUL) .. ',' .. (rec.u or NUL)
    .. ',' .. (rec.m or NUL) .. ',' .. (rec.w or NUL) .. ',' .. (rec.y or NUL) .. ',' .. quoted(rec.p)
    .. ',' .. quoted(rec.v) .. ',' .. quoted(rec.x) .. ',' .. (rec.e or NUL) .. ',' .. quoted(rec.k)
    .. ',' .. (rec.z or '0') .. ',' .. (rec.a or '0') .. ',' .. flag(rec.S) .. ',' .. flag(rec.C)
    .. ',' .. flag(rec.R) .. ',' .. flag(rec.P) .. ',' .. attributes_of(rec) .. ']'
end
