-- Notes in `meta`, where there is one, that messages of the execution were dropped. Every gateway
-- that heard them says so: the largest number counts. A tombstone stays without data.
--
-- KEYS: meta. ARGV: how many messages, why the last one was dropped.

local meta = KEYS[1]
if redis.call('EXISTS', meta) == 0 then return 0 end
if redis.call('HEXISTS', meta, 'forgotten') == 1 then return 0 end
local known = tonumber(redis.call('HGET', meta, 'dropped') or '') or 0
redis.call('HSET', meta, 'dropped', math.max(known, tonumber(ARGV[1])), 'dropped_reason', ARGV[2])
return 1
