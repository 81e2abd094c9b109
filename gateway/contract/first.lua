-- The first id that an execution's history keeps, without its payload; '' where it keeps nothing.
--
-- KEYS: events.

local first = redis.call('XRANGE', KEYS[1], '-', '+', 'COUNT', 1)[1]
return first and first[1] or ''
