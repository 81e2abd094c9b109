-- Appends the events of one call over HTTP and publishes each with its id: all of them, or none.
--
-- A repeated call gets the same ids, since the answer to the first one may have been lost.
--
-- KEYS: events, meta, and what remembers this call: a key of its own, or `memory` on a cluster. A
-- call that restarts the run has two more: where the former run is kept.
-- ARGV:
--   1..5 limits, see `append.lua`
--   6 channel; '' to publish only on the execution's own
--   7 organization
--   8 milliseconds that the call is remembered
--   9 digest of the call
--   10 an epoch of the run that its publisher means; '' for the present run
--   11 milliseconds that the former run is kept, of a call that restarts the run
--   12 PUBLISH, or SPUBLISH on a cluster, for the execution's own channel; '' for not at all
--   13 on a cluster, the field of `memory` that remembers the call (else '')
--   14.. four for each event: payload, `<type>=<status>` if it ends the run (else ''), kind of step
--      event, and when it happened
-- Returns a word, and what belongs to it. `published` or `repeated`: the first id and the number of
-- events, whose ids are consecutive. Or why nothing was written: `foreign` (it is another
-- organization's), `unregistered` (there is a history, and it is nobody's), `forgotten`, `reused`
-- with the same two (the call that is remembered was another one), `restarted` with the epoch of
-- the present run.

local once, field = KEYS[3] or memory, ARGV[13]
local channel, organization, once_ttl, digest = ARGV[6], ARGV[7], ARGV[8], ARGV[9]
local restarts, began = KEYS[4] and true, number(ARGV[10])
local live, first_event = ARGV[12], 14

local known = redis.call('HMGET', meta, 'organization_id', 'run', 'forgotten', 'forgotten_for',
  'epoch')
local owner, run = known[1], number(known[2]) or 0
if known[3] then
  -- Only its former owner learns that there was one.
  local is_theirs = not known[4] or known[4] == redis.sha1hex(organization)
  return { is_theirs and 'forgotten' or 'foreign' }
end
if owner and owner ~= organization then return { 'foreign' } end
local refusal = must_wait()
if refusal then return refusal end
if not owner and (known[5] or redis.call('EXISTS', events) == 1) then return { 'unregistered' } end

local is_of_former_run = began and began < run
local remembered = recall(once, field)
local first, count, was = string.match(remembered or '', '^(%d+%-%d+) (%d+) (%x+)$')
if first and (restarts or is_of_former_run or number(string.match(first, '^%d+')) >= run) then
  if was ~= digest then return { 'reused', first, tonumber(count) } end
  remember(once, field, remembered, once_ttl)
  return { 'repeated', first, tonumber(count) }
end
if is_of_former_run then return { 'restarted', integer(run) } end

-- Redis undoes nothing: what it would refuse after the first event must be known now. (Redis 6.2
-- cannot tell.)
local needed = { { 'HSET', meta, 'f', '' }, { 'HSETNX', meta, 'f', '' }, { 'PEXPIRE', meta, 1 },
  { 'XADD', events, '*', 'f', '' }, { 'XTRIM', events, 'MAXLEN', 1 },
  memory and { 'HRANDFIELD', memory, 1 } or { 'SET', once, '' },
  { 'PUBLISH', channel ~= '' and channel or own('live'), '' } }
for _, call in ipairs(redis.acl_check_cmd and needed or {}) do
  if not redis.acl_check_cmd(unpack(call)) then
    return redis.error_reply('NOPERM this user may not call ' .. call[1])
  end
end

if restarts then restart(KEYS[4], KEYS[5], ARGV[11]) end
local ids, payloads = {}, {}
for index = first_event, #ARGV, 4 do
  table.insert(payloads, ARGV[index])
  table.insert(ids, append(ARGV[index], ARGV[index + 1], ARGV[index + 2], ARGV[index + 3]))
end
if not owner then redis.call('HSET', meta, 'organization_id', organization) end
remember(once, field, ids[1] .. ' ' .. #ids .. ' ' .. digest, once_ttl)
close_call()
for index, id in ipairs(ids) do
  announce(id, payloads[index], channel, live)
end
return { 'published', ids[1], #ids }
