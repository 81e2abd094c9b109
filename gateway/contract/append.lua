-- Appends events to an execution's history. Every script that writes history has this part, so that
-- epochs and ids have one definition.
--
-- An id is <epoch>-<seq>: the epoch is the millisecond at which it began, seq counts 1, 2, 3 ...
-- without holes. A new epoch begins where there is no history, and when Redis is another one
-- (another master_replid): a promoted replica that had missed writes would otherwise give ids to
-- other events than those that readers already have.

local limits = {
  max_events = tonumber(ARGV[1]),
  max_bytes = tonumber(ARGV[2]),
  open_ttl = ARGV[3],
  history_ttl = ARGV[4],
  meta_ttl = ARGV[5],
}

local kinds = { 'started', 'completed', 'failed' }

-- Of the current epoch: `epoch`, `seq`, `bytes`, `trimmed`, `replid`; nil before the first append.
-- And, each nil where it is not known: `before`, the events of this history in former epochs;
-- `steps`, the step events by kind; `first`, the time of the first event ('' until there is one).
local history

-- The epoch of the last entry, and the sum of all payloads up to it; nil where there is none.
local function last_entry()
  local last = redis.call('XREVRANGE', events, '+', '-', 'COUNT', 1)[1]
  if not last then return end
  local epoch = number(string.match(last[1], '^(%d+)-'))
  if not epoch then error('FOREIGN no event can follow the last entry of ' .. events) end
  return epoch, number(last[2][4]) or 0
end

-- `former` of `meta`: `<epoch>:<last seq>` of the epochs before the current one, oldest first.
local function with_former(list, epoch, seq)
  local last = {}
  for one in string.gmatch(list or '', '%d+:%d+') do table.insert(last, one) end
  if epoch and seq then table.insert(last, integer(epoch) .. ':' .. integer(seq)) end
  while #last > 15 do table.remove(last, 1) end
  return table.concat(last, ' ')
end

-- `was` is the history before it, `kept` whether its events are, if there are any.
local function begin_epoch(replid, kept, was)
  local epoch, bytes = now_ms(), 0
  -- It only grows, whatever the clock of a new master says.
  if was.epoch and was.epoch >= epoch then epoch = was.epoch + 1 end
  local last_epoch, sum
  if kept then last_epoch, sum = last_entry() end
  kept = last_epoch ~= nil
  if kept then
    if last_epoch >= epoch then epoch = last_epoch + 1 end
    bytes = was.bytes or sum
  end
  history = { epoch = epoch, seq = 0, bytes = bytes, trimmed = 0, replid = replid,
    former = with_former(was.former, was.epoch, was.seq) }
  if kept then
    history.before = was.before and was.seq and was.before + was.seq
    history.steps, history.first = was.steps, was.first
  else
    history.before, history.steps, history.first = 0, { 0, 0, 0 }, ''
  end
  redis.call('HSET', meta, 'epoch', integer(epoch), 'replid', replid, 'former', history.former,
    'first', history.first and integer(epoch) .. ' ' .. history.first or '')
end

-- `counts` of `meta`: `<epoch>-<seq>:<before>:<started>:<completed>:<failed>`. Releases that do not
-- know this field append too: then its seq is not the last one, and the steps are not known.
local function read_counts(was, counts, first)
  local epoch, seq, before, steps = string.match(counts or '', '^(%d+)%-(%d+):(%d*):(.*)$')
  if not epoch or number(epoch) ~= was.epoch then return end
  was.before = number(before)
  local given = { string.match(steps, '^(%d+):(%d+):(%d+)$') }
  if number(seq) == was.seq and given[1] then
    was.steps = { number(given[1]), number(given[2]), number(given[3]) }
  end
  local first_in, moment = string.match(first or '', '^(%d+) (.*)$')
  if first_in == epoch then was.first = moment end
end

local function open_history()
  local known = redis.call('HMGET', meta, 'epoch', 'seq', 'replid', 'bytes', 'trimmed', 'former',
    'counts', 'first')
  local replid = string.match(redis.call('INFO', 'replication'), 'master_replid:(%x+)')
  local kept = redis.call('EXISTS', events) == 1
  local was = { epoch = number(known[1]), seq = number(known[2]), bytes = number(known[4]),
    former = known[6] }
  read_counts(was, known[7], known[8])
  if not (kept and known[3] == replid and was.epoch and was.seq and was.bytes) then
    return begin_epoch(replid, kept, was)
  end
  local trimmed_in, trimmed = string.match(known[5] or '', '^(%d+):(%d+)$')
  was.replid = replid
  was.trimmed = trimmed_in == known[1] and number(trimmed) or 0
  history = was
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

-- `kind`: of a step event `started`, `completed` or `failed`, of any other event empty; nil where
-- the caller does not tell, and then nobody knows how many there were. `moment`: when it happened,
-- as text, if the caller tells.
local function append(payload, terminal_type, kind, moment)
  if not history then open_history() end
  local id, answer = add(redis.pcall, payload)
  if type(answer) == 'table' then
    if string.find(answer.err, 'equal or smaller', 1, true) then
      -- Another program has added an entry with a later id: begin an epoch after it.
      history.seq, history.bytes = history.seq - 1, history.bytes - #payload
      begin_epoch(history.replid, true, history)
    end
    -- For any other error, Redis raises it again.
    id = add(redis.call, payload)
  end
  moment = moment and #moment <= 40 and moment or ''
  if history.first == '' and history.before == 0 and history.seq == 1 then
    history.first = moment
    redis.call('HSET', meta, 'first', integer(history.epoch) .. ' ' .. moment)
  end
  if not kind then history.steps = nil end
  for index, name in ipairs(history.steps and kinds or {}) do
    if kind == name then history.steps[index] = history.steps[index] + 1 end
  end
  -- The first terminal event wins. `<type>=<status>` says how it ended, too.
  if terminal_type ~= '' and redis.call('HSETNX', meta, 'terminal', id) == 1 then
    local name, status = string.match(terminal_type, '^(.+)=(%l+)$')
    if statuses[status] then
      redis.call('HSET', meta, 'terminal_status', status)
    else
      name = terminal_type
    end
    redis.call('HSET', meta, 'terminal_type', name, 'terminal_time', moment)
  end
  return id
end

-- Publishes an event with its id: on `channel`, unless that is empty, and with the command `live`
-- (PUBLISH, or SPUBLISH on a cluster), unless that is nil or empty, on the execution's own channel.
-- Rights that earlier releases print are not for that one: without it, gateways that listen there
-- alone find the event in its history.
local function announce(id, payload, channel, live)
  local message = '{"id":"' .. id .. '",' .. string.sub(payload, 2)
  if channel ~= '' then redis.call('PUBLISH', channel, message) end
  if live and live ~= '' then redis.pcall(live, own('live'), message) end
end

-- Whether this user may publish where `announce` would, if that is the execution's own channel
-- alone: to be asked before anything is written. (Redis 6.2 cannot tell.)
local function may_announce(channel, live)
  return channel ~= '' or not redis.acl_check_cmd or redis.acl_check_cmd(live, own('live'), '')
end

local function counts()
  local place = integer(history.epoch) .. '-' .. integer(history.seq)
  local steps = history.steps or { '', '', '' }
  return table.concat({ place, history.before or '', steps[1], steps[2], steps[3] }, ':')
end

-- Call it once, after the last append. `shortened`, where given, returns for a key and its usual
-- time to live in milliseconds the one to use.
local function close_call(shortened)
  if not history then return end
  redis.call('HSET', meta, 'seq', integer(history.seq), 'bytes', integer(history.bytes),
    'counts', counts())
  if history.bytes > limits.max_bytes then trim_bytes() end
  local ended = redis.call('HEXISTS', meta, 'terminal') == 1
  local kept_for = {
    [events] = ended and limits.history_ttl or limits.open_ttl,
    [meta] = ended and limits.meta_ttl or limits.open_ttl,
  }
  -- What it remembers ends long before a history does.
  if memory then
    kept_for[memory] = ended and math.min(3600000, tonumber(limits.history_ttl)) or limits.open_ttl
    if ended then
      redis.call('HSET', meta, 'history_until', integer(now_ms() + limits.history_ttl))
    end
  end
  for key, usual in pairs(kept_for) do
    redis.call('PEXPIRE', key, shortened and shortened(key, usual) or usual)
  end
end
