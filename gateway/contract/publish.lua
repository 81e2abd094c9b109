-- Appends one event and publishes it with its id, in one step. Returns the id.
--
-- A repeated call returns the same id, since the answer to the first one may have been lost.
--
-- KEYS: events, meta, and what keeps the id for the event's idempotency key: a key of its own, or
-- `memory` on a cluster. An event that restarts the run has two more: where the former run is kept.
-- ARGV, of which those from 10 on may be left out:
--   1..5 limits, see `append.lua`
--   6 channel; '' to publish only on the execution's own
--   7 milliseconds that the idempotency key is kept
--   8 `<type>=<status>` of an event that ends the run (else '')
--   9 the event without `id`
--   10 kind of step event: `started`, `completed` or `failed`; '' for any other event
--   11 when it happened, as ISO 8601
--   12 an epoch in which its publisher has published before: if the run was restarted since, the
--      event is of the former one, and the answer is the error RESTARTED
--   13 milliseconds that the former run is kept, of an event that restarts the run
--   14 PUBLISH, or SPUBLISH on a cluster, for the execution's own channel; '' for not at all
--   15 on a cluster, the field of `memory` that keeps the id

local once, field = KEYS[3] or memory, ARGV[15]
local channel, once_ttl, terminal_type, payload = ARGV[6], ARGV[7], ARGV[8], ARGV[9]
local restarts, began, live = KEYS[4] and true, number(ARGV[12]), ARGV[14]

-- An idempotency key is of one run: the next one has steps of the same names.
local of_run = redis.call('HMGET', meta, 'run', 'forgotten')
if of_run[2] then return redis.error_reply('FORGOTTEN this execution was deleted') end
-- Without a field, its caller has a key of its own for it, here too.
local refusal = must_wait(not field or field == '')
if refusal then return refusal end
local run = number(of_run[1]) or 0
local is_of_former_run = began and began < run
local known = recall(once, field)
local known_in = known and number(string.match(known, '^(%d+)-%d+$'))
if known_in and (restarts or is_of_former_run or known_in >= run) then
  -- A write, so that a WAIT after it is about this event, also when another connection wrote it:
  -- without one Redis 7.2 and later count any replica.
  remember(once, field, known, once_ttl)
  return known
end
if is_of_former_run then
  return redis.error_reply('RESTARTED the run began again with epoch ' .. integer(run))
end
if not may_announce(channel, live) then
  return redis.error_reply('NOPERM this user may not publish on ' .. own('live'))
end
if restarts then restart(KEYS[4], KEYS[5], ARGV[13]) end
local id = append(payload, terminal_type, ARGV[10], ARGV[11])
remember(once, field, id, once_ttl)
close_call()
announce(id, payload, channel, live)
return id
