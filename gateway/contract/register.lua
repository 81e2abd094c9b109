-- Registers an execution for an organization. Repeating is harmless.
--
-- KEYS: events, meta. ARGV: organization, workflow ('' for none), milliseconds that an open
-- execution is kept, and after its end its history and its `meta`.
-- Returns: `registered`; `same`, if that organization has it already; or the field that has another
-- value (`organization_id`, `workflow_id`), or `forgotten` if it was deleted, and then nothing is
-- written.

local events, meta = KEYS[1], KEYS[2]
local organization, workflow = ARGV[1], ARGV[2]
local open_ttl, history_ttl, meta_ttl = ARGV[3], ARGV[4], ARGV[5]

local known = redis.call('HMGET', meta, 'organization_id', 'workflow_id', 'terminal', 'forgotten')
if known[4] then return 'forgotten' end
if known[1] and known[1] ~= organization then return 'organization_id' end
if workflow ~= '' and known[2] and known[2] ~= workflow then return 'workflow_id' end

-- What was recorded before the registration may be kept for a short time: from now on it is kept as
-- long as any other, and never shorter than already. Without the right to PTTL that is unknown.
local function keep(key, usual)
  local left = redis.pcall('PTTL', key)
  if type(left) ~= 'number' or left < tonumber(usual) then redis.call('PEXPIRE', key, usual) end
end

redis.call('HSET', meta, 'organization_id', organization)
if workflow ~= '' then redis.call('HSET', meta, 'workflow_id', workflow) end
keep(meta, known[3] and meta_ttl or open_ttl)
keep(events, known[3] and history_ttl or open_ttl)
return known[1] and 'same' or 'registered'
