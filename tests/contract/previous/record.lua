-- Records bare messages: returns one id for each, the same to every gateway instance that asks.
--
-- Instances agree by counting: the n-th time that an instance sees exactly this payload in this
-- execution is the same event as the n-th time that another one sees it. So a payload that was
-- really published twice is kept twice.
--
-- KEYS: events, meta, seen (payload digest -> its occurrences), order (digests by age), answer
-- (what this instance was told last). ARGV[6..] instance, since, batch, ttl, remembered, then for
-- each message payload, digest, terminal type.

local seen, order, answer = KEYS[3], KEYS[4], KEYS[5]
local instance, since, batch, ttl = ARGV[6], tonumber(ARGV[7]), ARGV[8], ARGV[9]
local remembered = tonumber(ARGV[10])

-- The same batch again: the first answer was lost on its way, and counting twice would double.
local last = redis.call('GET', answer)
if last then
  last = cmsgpack.unpack(last)
  if last.batch == batch then return last.ids end
end

local time = redis.call('TIME')
local now = tonumber(time[1]) * 1000000 + tonumber(time[2])

-- `gone` occurrences are forgotten, `ids` and `times` follow; `counts` is by instance.
local function occurrences(digest)
  local packed = redis.call('HGET', seen, digest)
  return packed and cmsgpack.unpack(packed) or { gone = 0, ids = {}, times = {}, counts = {} }
end

-- Where an instance begins to count: what was recorded before it subscribed, it cannot have seen.
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
  if #known.ids == 0 then
    redis.call('HDEL', seen, digest)
  else
    redis.call('HSET', seen, digest, cmsgpack.pack(known))
  end
end

local function record(payload, digest, terminal_type)
  local known = occurrences(digest)
  local count = (known.counts[instance] or first_count(known)) + 1
  known.counts[instance] = count
  -- Forgotten long ago: this instance is too far behind to tell, and history has it anyway.
  if count <= known.gone then return '' end
  local id = known.ids[count - known.gone]
  if not id then
    id = append(payload, terminal_type)
    table.insert(known.ids, id)
    table.insert(known.times, now)
    redis.call('RPUSH', order, digest)
  end
  redis.call('HSET', seen, digest, cmsgpack.pack(known))
  return id
end

local ids = {}
for index = 11, #ARGV, 3 do
  table.insert(ids, record(ARGV[index], ARGV[index + 1], ARGV[index + 2]))
end
close_call()
for _ = 1, redis.call('LLEN', order) - remembered do forget_oldest() end
redis.call('PEXPIRE', seen, ttl)
redis.call('PEXPIRE', order, ttl)
redis.call('SET', answer, cmsgpack.pack({ batch = batch, ids = ids }), 'PX', ttl)
return ids
