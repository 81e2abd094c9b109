-- Appends one event and publishes it with its id, in one step. Returns the id.
--
-- KEYS: events, meta, and the key of this event's idempotency key, which keeps the id: a repeated
-- call returns it again, since the answer to the first call may have been lost.
-- ARGV[6..]: channel, milliseconds that the key is kept, `<type>=<status>` of an event that ends the
-- run (else empty), the event without `id`. These may be left out: the kind of a step event
-- (`started`, `completed`, `failed`; of any other empty), when it happened as ISO 8601.

local once = KEYS[3]
local channel, once_ttl, terminal_type, payload = ARGV[6], ARGV[7], ARGV[8], ARGV[9]

local known = redis.call('GET', once)
if known and string.match(known, '^%d+-%d+$') then return known end
local id = append(payload, terminal_type, ARGV[10], ARGV[11])
close_call()
redis.call('SET', once, id, 'PX', once_ttl)
redis.call('PUBLISH', channel, '{"id":"' .. id .. '",' .. string.sub(payload, 2))
return id
