-- What a call remembers for the next ones: in a key of its own, with its time to live; on a
-- cluster, where `key` is `memory`, in its field `field`, behind the millisecond at which it ends.

local function recall(key, field)
  if key ~= memory then return redis.call('GET', key) end
  local ends, value = string.match(redis.call('HGET', memory, field) or '', '^(%d+) (.*)$')
  return ends and tonumber(ends) > now_ms() and value
end

-- Fields do not expire: each call looks at a few and removes what has ended, so that at most about
-- a quarter of them has. Call it before `close_call`, which says how long `memory` itself is kept.
local function remember(key, field, value, ttl)
  if key ~= memory then return redis.call('SET', key, value, 'PX', ttl) end
  local now = now_ms()
  local some = redis.call('HRANDFIELD', memory, -4, 'WITHVALUES')
  for index = 1, #some, 2 do
    local ends = string.match(some[index + 1], '^(%d+) ')
    if ends and tonumber(ends) <= now then redis.call('HDEL', memory, some[index]) end
  end
  redis.call('HSET', memory, field, integer(now + ttl) .. ' ' .. value)
end
