-- Records bare messages: each gets an id, the same from every gateway that asks.
--
-- Gateways agree by counting: the n-th time that one of them sees exactly this payload in this
-- execution is the same event as the n-th time that another one sees it. So a payload that was
-- really published twice is kept twice.
--
-- KEYS, of which 3 to 5 are all `memory` on a cluster:
--   1 events
--   2 meta
--   3 seen: digest of a payload -> its occurrences
--   4 order: these digests, oldest first
--   5 answer: the last answer to this instance
--   6.. two for each message that restarts the run: where the former run is kept
-- ARGV:
--   1..5 limits, see `append.lua`
--   6 instance: the subscription session that has heard these messages
--   7 since: the Redis TIME in microseconds before that session began
--   8 batch: the number of this call; a repeated call has the same
--   9 milliseconds that what was seen is remembered
--   10 how many messages are remembered
--   11 milliseconds that an execution without an organization is kept; 0: as long as any other
--   12 milliseconds that a former run is kept
--   13 PUBLISH or SPUBLISH, for the execution's own channel: a new event is published there once,
--      by the call that has recorded it; '' for not at all
--   14.. seven for each message: payload, digest, `<type>=<status>` if it ends the run (else ''),
--      kind of step event, when it happened, '1' if it gets the time of recording as its timestamp,
--      and which of the KEYS is the first of its two if it restarts the run (else '')
-- Returns for each message its id, and after a space the timestamp that it was given, if any; ''
-- for one that is too old. `forgotten` for all of an execution that was deleted.

-- Deleted a short time ago: what comes late is dropped.
if redis.call('HEXISTS', meta, 'forgotten') == 1 then return 'forgotten' end
local seen, order, answer = KEYS[3] or memory, KEYS[4] or memory, KEYS[5] or memory
local instance, since, batch, ttl = ARGV[6], tonumber(ARGV[7]), ARGV[8], ARGV[9]
local remembered, unregistered_ttl = tonumber(ARGV[10]), tonumber(ARGV[11])
local former_ttl, live, first_message = ARGV[12], ARGV[13], 14

local restarts_later = false
for index = first_message + 7, #ARGV, 7 do
  restarts_later = restarts_later or ARGV[index + 6] ~= ''
end
local refusal = must_wait(restarts_later)
if refusal then return refusal end

-- The packed table; nil for a foreign value.
local function unpacked(packed)
  if not packed then return nil end
  local is_packed, value = pcall(cmsgpack.unpack, packed)
  return is_packed and type(value) == 'table' and value or nil
end

-- The same batch again: the first answer was lost on its way, and counting twice would double.
local answered = 'answer:' .. instance
local last = unpacked(recall(answer, answered))
if last and last.batch == batch and type(last.ids) == 'table' then return last.ids end

-- The digests, oldest first. On a cluster each has a number, and is a field of `memory`.
local queue = {}
if memory then
  local ends = redis.call('HMGET', memory, 'order:first', 'order:last')
  queue.first, queue.last = number(ends[1]) or 1, number(ends[2]) or 0
end

function queue.length()
  return memory and queue.last - queue.first + 1 or redis.call('LLEN', order)
end

function queue.push(digest)
  if not memory then return redis.call('RPUSH', order, digest) end
  queue.last = queue.last + 1
  redis.call('HSET', memory, 'order:' .. integer(queue.last), digest)
end

function queue.pop()
  if not memory then return redis.call('LPOP', order) end
  local field = 'order:' .. integer(queue.first)
  local digest = redis.call('HGET', memory, field)
  redis.call('HDEL', memory, field)
  queue.first = queue.first + 1
  return digest
end

-- Fails for a foreign value here, before events are appended.
queue.length()

-- An execution that may never be registered is kept for a short time, though not shorter than it
-- would be already. Earlier releases did not ask for the right to PTTL: without it, as usual.
local function time_left(key)
  local left = redis.pcall('PTTL', key)
  return type(left) == 'number' and left or nil
end

local shortened
if unregistered_ttl > 0 and redis.call('HEXISTS', meta, 'organization_id') == 0 then
  local left = { [events] = time_left(events), [meta] = time_left(meta) }
  if memory then left[memory] = time_left(memory) end
  shortened = function(key, usual)
    -- -1: without end.
    if not left[key] or left[key] == -1 then return usual end
    return integer(math.min(tonumber(usual), math.max(unregistered_ttl, left[key])))
  end
end

local time = redis.call('TIME')
local now = tonumber(time[1]) * 1000000 + tonumber(time[2])

-- The UTC date of a Redis TIME in microseconds, as ISO 8601.
local function iso(microseconds)
  local floor = math.floor
  local ms = floor(microseconds / 1000)
  -- Days since the first of March of the year 0, whose years end with the leap day.
  local day = floor(ms / 86400000) + 719468
  local era = floor(day / 146097)
  day = day % 146097
  local year = floor((day - floor(day / 1460) + floor(day / 36524) - floor(day / 146096)) / 365)
  day = day - (365 * year + floor(year / 4) - floor(year / 100))
  local month = floor((5 * day + 2) / 153)
  day = day - floor((153 * month + 2) / 5) + 1
  month = month < 10 and month + 3 or month - 9
  year = year + era * 400 + (month <= 2 and 1 or 0)
  return string.format('%04d-%02d-%02dT%02d:%02d:%02d.%03dZ', year, month, day,
    floor(ms / 3600000) % 24, floor(ms / 60000) % 60, floor(ms / 1000) % 60, ms % 1000)
end

local function is_sound(known)
  if type(known.gone) ~= 'number' or type(known.ids) ~= 'table' or type(known.times) ~= 'table'
    or type(known.counts) ~= 'table' or #known.ids ~= #known.times then return false end
  for index, id in ipairs(known.ids) do
    if type(id) ~= 'string' or type(known.times[index]) ~= 'number' then return false end
  end
  local count = known.counts[instance]
  return count == nil or type(count) == 'number'
end

-- `gone` occurrences are forgotten, `ids` and `times` follow; `counts` is by instance. Half a
-- microsecond in a time says that the event has got it as its timestamp: releases that do not know
-- this keep the time as it is.
local function seen_field(digest)
  return memory and 'seen:' .. digest or digest
end

-- Each is read once, and written once at the end: else a repeated payload costs more each time.
local opened = {}
local function occurrences(digest)
  if not opened[digest] then
    local known = unpacked(redis.call('HGET', seen, seen_field(digest)))
    local is_ours = known and is_sound(known)
    opened[digest] = is_ours and known or { gone = 0, ids = {}, times = {}, counts = {} }
  end
  return opened[digest]
end

local function save_occurrences()
  for digest, known in pairs(opened) do
    if #known.ids == 0 then
      redis.call('HDEL', seen, seen_field(digest))
    else
      redis.call('HSET', seen, seen_field(digest), cmsgpack.pack(known))
    end
  end
end

-- Where an instance begins to count: it cannot have seen what was recorded before it subscribed.
local function first_count(known)
  local count = known.gone
  for _, recorded in ipairs(known.times) do
    if recorded >= since then break end
    count = count + 1
  end
  return count
end

local function forget_oldest()
  local digest = queue.pop()
  if not digest then return end
  local known = occurrences(digest)
  table.remove(known.ids, 1)
  table.remove(known.times, 1)
  known.gone = known.gone + 1
end

local new_ids, new_payloads = {}, {}
local function record(payload, digest, terminal_type, kind, moment, gets_timestamp, former)
  local known = occurrences(digest)
  local count = (known.counts[instance] or first_count(known)) + 1
  -- Forgotten long ago: this instance is far behind, and history has the event anyway.
  if count <= known.gone then return '' end
  known.counts[instance] = count
  local place = count - known.gone
  if not known.ids[place] then
    if former ~= '' then
      close_call(shortened)
      restart(KEYS[tonumber(former)], KEYS[tonumber(former) + 1], former_ttl)
    end
    if gets_timestamp == '1' then
      payload = '{"timestamp":"' .. iso(now) .. '",' .. string.sub(payload, 2)
      if moment == '' then moment = iso(now) end
    end
    local id = append(payload, terminal_type, kind, moment)
    table.insert(known.ids, id)
    if live ~= '' then
      table.insert(new_ids, id)
      table.insert(new_payloads, payload)
    end
    table.insert(known.times, gets_timestamp == '1' and now + 0.5 or now)
    queue.push(digest)
  end
  local id, recorded = known.ids[place], known.times[place]
  return recorded % 1 == 0 and id or id .. ' ' .. iso(recorded)
end

local ids = {}
for index = first_message, #ARGV, 7 do
  table.insert(ids, record(unpack(ARGV, index, index + 6)))
end
for _ = 1, math.min(queue.length() - remembered, remembered) do forget_oldest() end
save_occurrences()
if memory then
  redis.call('HSET', memory, 'order:first', integer(queue.first), 'order:last', integer(queue.last))
else
  redis.call('PEXPIRE', seen, ttl)
  redis.call('PEXPIRE', order, ttl)
end
remember(answer, answered, cmsgpack.pack({ batch = batch, ids = ids }), ttl)
close_call(shortened)
for index, id in ipairs(new_ids) do announce(id, new_payloads[index], '', live) end
return ids
