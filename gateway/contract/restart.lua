-- Begins a new run under the same id. Its history begins with the next event; that of the former
-- run goes to the keys `former_events` and `former_meta`, for so many milliseconds. What gateways
-- have counted of bare messages stays, or one that lags would take the restart for another one.
--
-- `run` of `meta` is the epoch that the run began with; `runs` has for each former run that is kept
-- `<its last epoch>:<its name>`, the latest 16. Nothing is written before all that may be refused.

local function with_run(list, epoch, former_meta)
  local runs = {}
  for one in string.gmatch(list or '', '%S+') do table.insert(runs, one) end
  table.insert(runs, integer(epoch) .. ':' .. string.match(former_meta, '{(%x+)}:meta$'))
  while #runs > 16 do table.remove(runs, 1) end
  return table.concat(runs, ' ')
end

-- Earlier releases did not ask for the right to RENAME: without it the former history is gone.
local function move(key, former, kept_for)
  if redis.call('EXISTS', key) == 0 then return true end
  local answer = redis.pcall('RENAME', key, former)
  if not answer.err then
    redis.call('PEXPIRE', former, kept_for)
    return true
  elseif not string.find(answer.err, 'ermission') and not string.find(answer.err, "can't run") then
    error(answer.err)
  end
  redis.call('PEXPIRE', key, 0)
end

-- Appends write `meta` when they are done: call it before the first one, or after `close_call`.
local function restart(former_events, former_meta, kept_for)
  history = nil
  local known = redis.call('HMGET', meta, 'epoch', 'seq', 'former', 'runs', 'organization_id',
    'workflow_id', 'runs_lost')
  local was = { epoch = number(known[1]), seq = number(known[2]), former = known[3] }
  -- Nothing has happened yet.
  if not was.epoch then return end
  local replid = string.match(redis.call('INFO', 'replication'), 'master_replid:(%x+)')
  local is_kept = move(events, former_events, kept_for)
  move(meta, former_meta, kept_for)
  begin_epoch(replid, false, was)
  redis.call('HSET', meta, 'run', integer(history.epoch), 'runs',
    is_kept and with_run(known[4], was.epoch, former_meta) or known[4] or '')
  local lost = (number(known[7]) or 0) + (is_kept and 0 or 1)
  if lost > 0 then redis.call('HSET', meta, 'runs_lost', lost) end
  if known[5] then redis.call('HSET', meta, 'organization_id', known[5]) end
  if known[6] then redis.call('HSET', meta, 'workflow_id', known[6]) end
end
