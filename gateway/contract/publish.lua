-- Appends one event and publishes it with its id, in one step. Returns the id.
--
-- KEYS: events, meta, and the key of this event's idempotency key, which keeps the id: a repeated
-- call returns it again, since the answer to the first call may have been lost.

local once = KEYS[3]
local channel, once_ttl, terminal_type, payload = ARGV[6], ARGV[7], ARGV[8], ARGV[9]

local known = redis.call('GET', once)
if known and string.match(known, '^%d+-%d+$') then
  -- A write, so that a WAIT after it is about this event, also when another connection wrote it: without one Redis 7.2
  -- and later count any replica.
  redis.call('PEXPIRE', once, once_ttl)
  return known
end
local id = append(payload, terminal_type)
close_call()
redis.call('SET', once, id, 'PX', once_ttl)
redis.call('PUBLISH', channel, '{"id":"' .. id .. '",' .. string.sub(payload, 2))
return id
