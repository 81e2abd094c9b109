-- Appends events to an execution's history. Every script that writes history begins with this
-- part, so that a life of a history and its ids have one definition.
--
-- An id is <epoch>-<seq>: the epoch is the millisecond at which this life of the history began,
-- seq counts 1, 2, 3 ... without holes. A new epoch begins where no history is, and whenever Redis is
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

local function integer(number)
  return string.format('%.0f', number)
end

local function epoch_of(id)
  return tonumber(string.match(id, '^(%d+)-'))
end

local life

local function begin_life(known, replid, kept)
  local time = redis.call('TIME')
  local epoch = tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)
  -- Only ever grows, whatever the clock of a new master says.
  if known[1] and tonumber(known[1]) >= epoch then epoch = tonumber(known[1]) + 1 end
  if kept then
    local last = redis.call('XREVRANGE', events, '+', '-', 'COUNT', 1)[1]
    if epoch_of(last[1]) >= epoch then epoch = epoch_of(last[1]) + 1 end
  end
  redis.call('HSET', meta, 'epoch', integer(epoch), 'replid', replid)
  return { epoch = epoch, seq = 0, bytes = kept and tonumber(known[4] or 0) or 0 }
end

local function open_life()
  local known = redis.call('HMGET', meta, 'epoch', 'seq', 'replid', 'bytes')
  local replid = string.match(redis.call('INFO', 'replication'), 'master_replid:(%x+)')
  local kept = redis.call('EXISTS', events) == 1
  if known[1] and known[3] == replid and kept then
    return { epoch = tonumber(known[1]), seq = tonumber(known[2]), bytes = tonumber(known[4]) }
  end
  return begin_life(known, replid, kept)
end

-- `bytes` of an entry is the sum of all payloads up to it, so the first entry tells what is kept.
local function trim_bytes()
  local excess = life.bytes - limits.max_bytes
  while true do
    local first = redis.call('XRANGE', events, '-', '+', 'COUNT', 2)
    if #first < 2 then return end
    local before_first = tonumber(first[1][2][4]) - #first[1][2][2]
    if before_first >= excess then return end
    redis.call('XTRIM', events, 'MINID', '=', first[2][1])
  end
end

local function append(payload, terminal_type)
  life = life or open_life()
  life.seq = life.seq + 1
  life.bytes = life.bytes + #payload
  local id = integer(life.epoch) .. '-' .. integer(life.seq)
  redis.call('XADD', events, 'MAXLEN', '~', limits.max_events, id,
    'event', payload, 'bytes', integer(life.bytes))
  -- The first terminal event wins.
  if terminal_type ~= '' and redis.call('HSETNX', meta, 'terminal', id) == 1 then
    redis.call('HSET', meta, 'terminal_type', terminal_type)
  end
  return id
end

-- To be called once after the last append of a call.
local function close_call()
  if not life then return end
  redis.call('HSET', meta, 'seq', integer(life.seq), 'bytes', integer(life.bytes))
  if life.bytes > limits.max_bytes then trim_bytes() end
  local ended = redis.call('HEXISTS', meta, 'terminal') == 1
  redis.call('PEXPIRE', events, ended and limits.history_ttl or limits.open_ttl)
  redis.call('PEXPIRE', meta, ended and limits.meta_ttl or limits.open_ttl)
end
