-- Notes in the index of an organization's executions what has become of some of them. The index
-- only says what to look at: histories and `meta` say what is true. A call may be repeated.
--
-- KEYS: order, about.
-- ARGV:
--   1 most executions; 0: as the gateways have set it
--   2 milliseconds that an execution without activity is kept
--   3 a channel for changes that are no event; '' for none
--   4.. six for each execution: kind, execution id, event id, status, workflow ('' for what is not
--      known), and how many milliseconds ago that was: its place is that of its last event, however
--      late that is noted
-- Kinds: `registered`; `active`, an event; `now`, an event that begins or ends something; `is`,
-- what its history says of an execution that is listed; `gone`.
-- Returns for each execution `<time of its activity in ms> <event id> <status> <workflow>`, or ''
-- if it is not listed.

local channel = ARGV[3]
local ended = { completed = true, failed = true, canceled = true, ended = true }

local most, kept = tonumber(ARGV[1]), redis.call('HMGET', about, '!most', '!version')
if most == 0 then
  most = tonumber(kept[1]) or 10000
elseif tonumber(kept[1]) ~= most then
  redis.call('HSET', about, '!most', most)
end

local function parts(id)
  local epoch, seq = string.match(id or '', '^(%d+)%-(%d+)$')
  if epoch and #epoch <= 15 and #seq <= 15 then return tonumber(epoch), tonumber(seq) end
  return 0, 0
end

-- `id` 0-0: nobody knows; an event without id counts as newer than all. Epochs grow, but where a
-- master with another clock has lost the former one: `silent` says for how long nothing was noted.
local function is_newer(id, than, silent, or_same)
  local epoch, seq = parts(id)
  local old_epoch, old_seq = parts(than)
  if epoch == 0 and not or_same then return true end
  if epoch ~= old_epoch then return epoch > old_epoch or (epoch > 0 and silent > 10000) end
  return seq > old_seq or (or_same and seq == old_seq) or false
end

local announced, is_other = false, not kept[2]

local function note(kind, execution, id, status, workflow, age)
  local was = redis.call('HMGET', about, execution)[1]
  local score = was and tonumber(redis.call('ZSCORE', order, execution) or '')
  local old_id, old_status, old_workflow = string.match(was or '', '^(%S+) (%l+) (.*)$')
  if not score or not old_id then
    score, old_id, old_status, old_workflow = nil, '0-0', 'pending', ''
  end
  if kind == 'gone' then
    if was or score then
      redis.call('ZREM', order, execution)
      redis.call('HDEL', about, execution)
      is_other, announced = true, true
    end
    return ''
  end
  if kind == 'is' and not score then return '' end

  local moved, new_id, new_status = score, old_id, old_status
  if kind == 'registered' then
    moved = score or now
  elseif kind == 'is' then
    if status ~= '' and is_newer(id, old_id, now - score, true) then
      new_id, new_status = id, status
    end
  elseif is_newer(id, old_id, now - (score or 0))
    and (kind == 'now' or not score or now - score >= 1000) then
    age = math.max(tonumber(age) or 0, 0)
    moved = math.max(now - age, score or 0)
    -- Who compares times reads those of the last seconds.
    if age > 4000 then is_other = true end
    local epoch, old_epoch = parts(id), parts(old_id)
    -- The first end counts, until another run begins.
    if not ended[old_status] or (epoch > 0 and epoch ~= old_epoch) then
      if status ~= '' then
        new_status = status
      elseif old_status == 'pending' or ended[old_status] then
        new_status = 'running'
      end
    end
    if epoch > 0 then new_id = id end
  end
  local new_workflow = workflow ~= '' and workflow or old_workflow
  local is = new_id .. ' ' .. new_status .. ' ' .. new_workflow
  if moved ~= score then redis.call('ZADD', order, integer(moved), execution) end
  if is ~= was then redis.call('HSET', about, execution, is) end
  if is ~= was and (kind == 'registered' or kind == 'is') then
    announced = true
    -- Who compares times sees all that has moved, and nothing else.
    if score then is_other = true end
  end
  return integer(moved) .. ' ' .. is
end

local answers = {}
for index = 4, #ARGV, 6 do
  table.insert(answers, note(unpack(ARGV, index, index + 5)))
end

local function remove(oldest)
  if #oldest == 0 then return end
  redis.call('ZREM', order, unpack(oldest))
  redis.call('HDEL', about, unpack(oldest))
end

local too_many = redis.call('ZCARD', order) - most
if too_many > 0 then remove(redis.call('ZRANGE', order, 0, math.min(too_many, 500) - 1)) end
remove(redis.call('ZRANGE', order, '-inf', '(' .. integer(now - tonumber(ARGV[2])), 'BYSCORE',
  'LIMIT', 0, 100))

if is_other then redis.call('HSET', about, '!version', integer(now) .. time[2]) end
redis.call('PEXPIRE', order, ARGV[2])
redis.call('PEXPIRE', about, ARGV[2])
if announced and channel ~= '' then redis.pcall('PUBLISH', channel, 'changed') end
return answers
