-- Records bare messages: returns one id for each, the same to every gateway instance that asks. After
-- a space follows the timestamp, if this script has added one. `forgotten` for all of an execution
-- that was deleted.
--
-- Instances agree by counting: the n-th time that an instance sees exactly this payload in this
-- execution is the same event as the n-th time that another one sees it. So a payload that was
-- really published twice is kept twice.
--
-- KEYS: events, meta, seen (payload digest -> its occurrences), order (digests by age), answer
-- (the last answer to this instance). ARGV[6..] instance, since, batch, ttl, remembered, how many
-- milliseconds an execution without an organization is kept (0: as long as any other), then for
-- each message payload, digest, terminal type, kind of step event, when it happened, '1' if the
-- time of recording is to be its timestamp, and of one that restarts the run, which of the KEYS is the
-- first of two for what is kept of the former one (else empty). ARGV[12]: how long that is kept.

-- Deleted a short time ago: what comes late is dropped.
if redis.call('HEXISTS', meta, 'forgotten') == 1 then return 'forgotten' end

local seen, order, answer = KEYS[3], KEYS[4], KEYS[5]
local instance, since, batch, ttl = ARGV[6], tonumber(ARGV[7]), ARGV[8], ARGV[9]
local remembered, unregistered_ttl = tonumber(ARGV[10]), tonumber(ARGV[11])
local former_ttl, first_message = ARGV[12], 13

-- The packed table; nil for a foreign value.
local function unpacked(packed)
  if not packed then return nil end
  local is_packed, value = pcall(cmsgpack.unpack, packed)
  return is_packed and type(value) == 'table' and value or nil
end

-- The same batch again: the first answer was lost on its way, and counting twice would double.
local last = unpacked(redis.call('GET', answer))
if last and last.batch == batch and type(last.ids) == 'table' then return last.ids end

-- Fails for a foreign value here, before events are appended.
redis.call('LLEN', order)

-- An execution that may never be registered is kept for a short time, though not shorter than it
-- would be already. Earlier releases did not ask for the right to PTTL: without it, as usual.
local function time_left(key)
  local left = redis.pcall('PTTL', key)
  return type(left) == 'number' and left or nil
end

local shortened
if unregistered_ttl > 0 and redis.call('HEXISTS', meta, 'organization_id') == 0 then
  local left = { [events] = time_left(events), [meta] = time_left(meta) }
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
-- Each is read once and written once, at the end: a repeated payload would else cost more each time.
local opened = {}
local function occurrences(digest)
  if not opened[digest] then
    local known = unpacked(redis.call('HGET', seen, digest))
    local is_ours = known and is_sound(known)
    opened[digest] = is_ours and known or { gone = 0, ids = {}, times = {}, counts = {} }
  end
  return opened[digest]
end

local function save_occurrences()
  for digest, known in pairs(opened) do
    if #known.ids == 0 then
      redis.call('HDEL', seen, digest)
    else
      redis.call('HSET', seen, digest, cmsgpack.pack(known))
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
  local digest = redis.call('LPOP', order)
  local known = occurrences(digest)
  table.remove(known.ids, 1)
  table.remove(known.times, 1)
  known.gone = known.gone + 1
end

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
    table.insert(known.ids, append(payload, terminal_type, kind, moment))
    table.insert(known.times, gets_timestamp == '1' and now + 0.5 or now)
    redis.call('RPUSH', order, digest)
  end
  local id, recorded = known.ids[place], known.times[place]
  return recorded % 1 == 0 and id or id .. ' ' .. iso(recorded)
end

local ids = {}
for index = first_message, #ARGV, 7 do
  table.insert(ids, record(unpack(ARGV, index, index + 6)))
end
close_call(shortened)
for _ = 1, redis.call('LLEN', order) - remembered do forget_oldest() end
save_occurrences()
redis.call('PEXPIRE', seen, ttl)
redis.call('PEXPIRE', order, ttl)
redis.call('SET', answer, cmsgpack.pack({ batch = batch, ids = ids }), 'PX', ttl)
return ids
