-- Registers an execution for an organization. Repeating is harmless.
--
-- KEYS: events, meta, and on a cluster memory.
-- ARGV: organization, workflow ('' for none), milliseconds that an open execution is kept, and
-- after its end its history and its `meta`.
-- Returns: `registered`; or `same`, if that organization has it already. Nothing is written, and
-- the answer is the field that has another value (`organization_id`, `workflow_id`), or `forgotten`
-- if the execution was deleted.

local organization, workflow = ARGV[1], ARGV[2]
local open_ttl, history_ttl, meta_ttl = ARGV[3], ARGV[4], ARGV[5]

local known = redis.call('HMGET', meta, 'organization_id', 'workflow_id', 'terminal', 'forgotten',
  'forgotten_for', 'epoch', 'history_until')
-- Only its former owner learns that it was there.
if known[4] then
  local is_theirs = not known[5] or known[5] == redis.sha1hex(organization)
  return is_theirs and 'forgotten' or 'organization_id'
end
if known[1] and known[1] ~= organization then return 'organization_id' end
if workflow ~= '' and known[2] and known[2] ~= workflow then return 'workflow_id' end
local refusal = must_wait()
if refusal then return refusal end

-- What was recorded before the registration may be kept for a short time: from now on it is kept as
-- long as any other, and never shorter than already. Without the right to PTTL that is unknown.
local function keep(key, usual)
  local left = redis.pcall('PTTL', key)
  if type(left) ~= 'number' or left < tonumber(usual) then redis.call('PEXPIRE', key, usual) end
end

redis.call('HSET', meta, 'organization_id', organization)
if workflow ~= '' then redis.call('HSET', meta, 'workflow_id', workflow) end
if memory then
  redis.call('HSET', memory, 'made', '1')
  keep(memory, known[3] and math.min(3600000, tonumber(history_ttl)) or open_ttl)
  -- Without an entry, and the next one may have any id.
  if not known[6] and redis.call('EXISTS', events) == 0 then
    redis.call('XADD', events, 'MAXLEN', 0, '0-1', 'made', '1')
  end
end
keep(meta, known[3] and meta_ttl or open_ttl)
keep(events, known[3] and history_ttl or open_ttl)
if memory and known[3] then
  local kept_until = math.max(tonumber(known[7]) or 0, now_ms() + history_ttl)
  redis.call('HSET', meta, 'history_until', integer(kept_until))
end
return known[1] and 'same' or 'registered'
