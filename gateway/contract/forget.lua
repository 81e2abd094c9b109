-- Deletes an execution's history and registration. A tombstone stays for a while in `meta`, without
-- any data, so that late messages and retries do not make a new history; every script looks at it.
-- Other keys of the execution are deleted afterwards, by the caller.
--
-- KEYS: events, meta. ARGV: channel, digest of the execution id, milliseconds that the tombstone is
-- kept, the command with which that is published on the execution's own channel too.

local refusal = must_wait()
if refusal then return refusal end
local owner = redis.call('HMGET', meta, 'organization_id')[1]
redis.call('PEXPIRE', events, 0)
redis.call('PEXPIRE', meta, 0)
redis.call('HSET', meta, 'forgotten', ARGV[2])
-- So that nobody but its former owner learns that there was one.
if owner then redis.call('HSET', meta, 'forgotten_for', redis.sha1hex(owner)) end
redis.call('PEXPIRE', meta, ARGV[3])
-- Gateways look at once; without it, at their next heartbeat.
redis.pcall('PUBLISH', ARGV[1], '{"type":"stream:forgotten"}')
redis.pcall(ARGV[4], own('live'), '{"type":"stream:forgotten"}')
return 'forgotten'
