-- Appends events to an execution's history. Every script that writes history begins with this
-- part, so that a life of a history and its ids have one definition.
--
-- An id is <epoch>-<seq>: the epoch is the millisecond at which this life of the history began,
-- seq counts 1, 2, 3 ... without holes. A new life begins where no history is, and whenever Redis is
-- not the same any more (another master_replid): a promoted replica that had missed writes would
-- otherwise give ids to other events than the ones that readers already have.

local events, meta = KEYS[1], KEYS[2]
local limits = {
  max_events = tonumber(ARGV[1]),
  max_bytes = tonumber(ARGV[2]),
  open_ttl = ARGV[3],
  history_ttl = ARGV[4],
  meta_ttl = ARGV[5],
}

local function integer(value)
  return string.format('%.0f', value)
end

-- What stands in Redis, if it is a number that we may have written: 15 digits are exact in Lua.
local function number(text)
  return text and #text <= 15 and string.match(text, '^%d+$') and tonumber(text) or nil
end

local life

-- The epoch of the last entry, and the sum of all payloads up to it.
local function last_entry()
  local last = redis.call('XREVRANGE', events, '+', '-', 'COUNT', 1)[1]
  local epoch = number(string.match(last[1], '^(%d+)-'))
  if not epoch then error('FOREIGN no event can follow the last entry of ' .. events) end
  return epoch, number(last[2][4]) or 0
end

local function begin_life(known, replid, kept)
  local time = redis.call('TIME')
  local epoch = tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)
  local former, bytes = number(known[1]), 0
  -- Only ever grows, whatever the clock of a new master says.
  if former and former >= epoch then epoch = former + 1 end
  if kept then
    local last_epoch, sum = last_entry()
    if last_epoch >= epoch then epoch = last_epoch + 1 end
    bytes = number(known[4]) or sum
  end
  redis.call('HSET', meta, 'epoch', integer(epoch), 'replid', replid)
  life = { epoch = epoch, seq = 0, bytes = bytes, trimmed = 0, replid = replid }
end

local function open_life()
  local known = redis.call('HMGET', meta, 'epoch', 'seq', 'replid', 'bytes', 'trimmed')
  local replid = string.match(redis.call('INFO', 'replication'), 'master_replid:(%x+)')
  local kept = redis.call('EXISTS', events) == 1
  local epoch, seq, bytes = number(known[1]), number(known[2]), number(known[4])
  if not (kept and known[3] == replid and epoch and seq and bytes) then
    return begin_life(known, replid, kept)
  end
  local trimmed_in, trimmed = string.match(known[5] or '', '^(%d+):(%d+)$')
  life = { epoch = epoch, seq = seq, bytes = bytes, replid = replid,
    trimmed = trimmed_in == known[1] and number(trimmed) or 0 }
end

-- `bytes` of an entry is the sum of all payloads up to it, so the first entry tells what is kept.
-- `trimmed` of `meta` is what is known to be gone (in which life; a gateway that does not know this
-- field trims too, and begins lives): most calls need not look at an entry, which is a copy of it.
local function trim_bytes()
  local excess, last = life.bytes - limits.max_bytes, integer(life.epoch) .. '-' .. integer(life.seq)
  if life.trimmed >= excess then return end
  while life.trimmed < excess do
    local first = redis.call('XRANGE', events, '-', '+', 'COUNT', 1)[1]
    if first[1] == last then break end
    local sum = number(first[2][4])
    -- One that somebody else has written goes first.
    local before = sum and sum <= life.bytes and sum - #first[2][2] or -1
    if before >= excess then
      life.trimmed = before
      break
    end
    local epoch, seq = string.match(first[1], '^(%d+)-(%d+)$')
    local following = epoch .. '-' .. integer(tonumber(seq) + 1)
    if redis.call('XTRIM', events, 'MINID', '=', following) == 0 then break end
    if before >= 0 then life.trimmed = sum end
  end
  redis.call('HSET', meta, 'trimmed', integer(life.epoch) .. ':' .. integer(life.trimmed))
end

local function add(call, payload)
  life.seq = life.seq + 1
  life.bytes = life.bytes + #payload
  local id = integer(life.epoch) .. '-' .. integer(life.seq)
  return id, call('XADD', events, 'MAXLEN', '~', limits.max_events, id,
    'event', payload, 'bytes', integer(life.bytes))
end

local function append(payload, terminal_type)
  if not life then open_life() end
  local id, answer = add(redis.pcall, payload)
  if type(answer) == 'table' then
    if string.find(answer.err, 'equal or smaller', 1, true) then
      -- Somebody else has added an entry with a later id: go on in a life after it.
      begin_life({ integer(life.epoch), false, false, integer(life.bytes - #payload) },
        life.replid, true)
    end
    -- Whatever else it was, Redis says it again.
    id = add(redis.call, payload)
  end
  -- The first terminal event wins.
  if terminal_type ~= '' and redis.call('HSETNX', meta, 'terminal', id) == 1 then
    redis.call('HSET', meta, 'terminal_type', terminal_type)
  end
  return id
end

-- To be called once after the last append of a call. `shortened`, where given, makes the time in
-- milliseconds that a key is kept for from the usual one.
local function close_call(shortened)
  if not life then return end
  redis.call('HSET', meta, 'seq', integer(life.seq), 'bytes', integer(life.bytes))
  if life.bytes > limits.max_bytes then trim_bytes() end
  local ended = redis.call('HEXISTS', meta, 'terminal') == 1
  local kept_for = {
    [events] = ended and limits.history_ttl or limits.open_ttl,
    [meta] = ended and limits.meta_ttl or limits.open_ttl,
  }
  for key, usual in pairs(kept_for) do
    redis.call('PEXPIRE', key, shortened and shortened(key, usual) or usual)
  end
end
