-- Appends one event and publishes it with its id, in one step. Returns the id.
--
-- KEYS: events, meta, and the key of this event's idempotency key, which keeps the id: a repeated
-- call returns it again, since the answer to the first call may have been lost.
-- ARGV[6..]: channel, milliseconds that the key is kept, `<type>=<status>` of an event that ends the
-- run (else empty), the event without `id`. These may be left out: the kind of a step event
-- (`started`, `completed`, `failed`; of any other empty), when it happened as ISO 8601, and the epoch
-- of an event that its publisher has published before: if the run was restarted since, this is an
-- event of the former one, and the answer is the error RESTARTED. An event that restarts the run
-- comes with two more KEYS, for what is kept of the former one, and for how many milliseconds.

local once = KEYS[3]
local channel, once_ttl, terminal_type, payload = ARGV[6], ARGV[7], ARGV[8], ARGV[9]
local restarts, began = KEYS[4] and true, number(ARGV[12])

-- An idempotency key is of one run: the next one has steps of the same names.
local of_run = redis.call('HMGET', meta, 'run', 'forgotten')
if of_run[2] then return redis.error_reply('FORGOTTEN this execution was deleted') end
local run = number(of_run[1]) or 0
local is_of_former_run = began and began < run
local known = redis.call('GET', once)
local known_in = known and number(string.match(known, '^(%d+)-%d+$'))
if known_in and (restarts or is_of_former_run or known_in >= run) then
  -- A write, so that a WAIT after it is about this event, also when another connection wrote it:
  -- without one Redis 7.2 and later count any replica.
  redis.call('PEXPIRE', once, once_ttl)
  return known
end
if is_of_former_run then
  return redis.error_reply('RESTARTED the run began again with epoch ' .. integer(run))
end
if restarts then restart(KEYS[4], KEYS[5], ARGV[13]) end
local id = append(payload, terminal_type, ARGV[10], ARGV[11])
close_call()
redis.call('SET', once, id, 'PX', once_ttl)
redis.call('PUBLISH', channel, '{"id":"' .. id .. '",' .. string.sub(payload, 2))
return id
