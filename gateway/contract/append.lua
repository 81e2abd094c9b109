-- Appends events to an execution's history. Every script that writes history begins with this
-- part, so that epochs and ids have one definition.
--
-- An id is <epoch>-<seq>: the epoch is the millisecond at which it began, seq counts 1, 2, 3 ...
-- without holes. A new epoch begins where there is no history, and when Redis is another one
-- (another master_replid): a promoted replica that had missed writes would otherwise give ids to
-- other events than those that readers already have.

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

-- A number from Redis, or nil for text that we have not written: 15 digits are exact in Lua.
local function number(text)
  return text and #text <= 15 and string.match(text, '^%d+$') and tonumber(text) or nil
end

-- Of the current epoch: `epoch`, `seq`, `bytes`, `trimmed`, `replid`; nil before the first append.
local history

-- The epoch of the last entry, and the sum of all payloads up to it.
local function last_entry()
  local last = redis.call('XREVRANGE', events, '+', '-', 'COUNT', 1)[1]
  local epoch = number(string.match(last[1], '^(%d+)-'))
  if not epoch then error('FOREIGN no event can follow the last entry of ' .. events) end
  return epoch, number(last[2][4]) or 0
end

local function begin_epoch(replid, kept, former, former_bytes)
  local time = redis.call('TIME')
  local epoch = tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)
  local bytes = 0
  -- It only grows, whatever the clock of a new master says.
  if former and former >= epoch then epoch = former + 1 end
  if kept then
    local last_epoch, sum = last_entry()
    if last_epoch >= epoch then epoch = last_epoch + 1 end
    bytes = former_bytes or sum
  end
  redis.call('HSET', meta, 'epoch', integer(epoch), 'replid', replid)
  history = { epoch = epoch, seq = 0, bytes = bytes, trimmed = 0, replid = replid }
end

local function open_history()
  local known = redis.call('HMGET', meta, 'epoch', 'seq', 'replid', 'bytes', 'trimmed')
  local replid = string.match(redis.call('INFO', 'replication'), 'master_replid:(%x+)')
  local kept = redis.call('EXISTS', events) == 1
  local epoch, seq, bytes = number(known[1]), number(known[2]), number(known[4])
  if not (kept and known[3] == replid and epoch and seq and bytes) then
    return begin_epoch(replid, kept, epoch, bytes)
  end
  local trimmed_in, trimmed = string.match(known[5] or '', '^(%d+):(%d+)$')
  history = { epoch = epoch, seq = seq, bytes = bytes, replid = replid,
    trimmed = trimmed_in == known[1] and number(trimmed) or 0 }
end

-- `bytes` of an entry is the sum of all payloads up to it, so the first entry tells what is kept.
-- `trimmed` of `meta` is the sum of what is gone, with its epoch: releases that do not know this
-- field trim and begin epochs too. With it most calls need not read an entry, which copies it.
local function trim_bytes()
  local excess = history.bytes - limits.max_bytes
  local last = integer(history.epoch) .. '-' .. integer(history.seq)
  if history.trimmed >= excess then return end
  while history.trimmed < excess do
    local first = redis.call('XRANGE', events, '-', '+', 'COUNT', 1)[1]
    if first[1] == last then break end
    local sum = number(first[2][4])
    -- A foreign entry has no usable sum, and goes first.
    local before = sum and sum <= history.bytes and sum - #first[2][2] or -1
    if before >= excess then
      history.trimmed = before
      break
    end
    local epoch, seq = string.match(first[1], '^(%d+)-(%d+)$')
    local following = epoch .. '-' .. integer(tonumber(seq) + 1)
    if redis.call('XTRIM', events, 'MINID', '=', following) == 0 then break end
    if before >= 0 then history.trimmed = sum end
  end
  redis.call('HSET', meta, 'trimmed', integer(history.epoch) .. ':' .. integer(history.trimmed))
end

local function add(call, payload)
  history.seq = history.seq + 1
  history.bytes = history.bytes + #payload
  local id = integer(history.epoch) .. '-' .. integer(history.seq)
  return id, call('XADD', events, 'MAXLEN', '~', limits.max_events, id,
    'event', payload, 'bytes', integer(history.bytes))
end

local statuses = { completed = true, failed = true, canceled = true, ended = true }

local function append(payload, terminal_type)
  if not history then open_history() end
  local id, answer = add(redis.pcall, payload)
  if type(answer) == 'table' then
    if string.find(answer.err, 'equal or smaller', 1, true) then
      -- Another program has added an entry with a later id: begin an epoch after it.
      begin_epoch(history.replid, true, history.epoch, history.bytes - #payload)
    end
    -- For any other error, Redis raises it again.
    id = add(redis.call, payload)
  end
  -- The first terminal event wins. `<type>=<status>` says how it ended, too.
  if terminal_type ~= '' and redis.call('HSETNX', meta, 'terminal', id) == 1 then
    local name, status = string.match(terminal_type, '^(.+)=(%l+)$')
    if status and statuses[status] then
      redis.call('HSET', meta, 'terminal_type', name, 'terminal_status', status)
    else
      redis.call('HSET', meta, 'terminal_type', terminal_type)
    end
  end
  return id
end

-- Call it once, after the last append. `shortened`, where given, returns for a key and its usual
-- time to live in milliseconds the one to use.
local function close_call(shortened)
  if not history then return end
  redis.call('HSET', meta, 'seq', integer(history.seq), 'bytes', integer(history.bytes))
  if history.bytes > limits.max_bytes then trim_bytes() end
  local ended = redis.call('HEXISTS', meta, 'terminal') == 1
  local kept_for = {
    [events] = ended and limits.history_ttl or limits.open_ttl,
    [meta] = ended and limits.meta_ttl or limits.open_ttl,
  }
  for key, usual in pairs(kept_for) do
    redis.call('PEXPIRE', key, shortened and shortened(key, usual) or usual)
  end
end
