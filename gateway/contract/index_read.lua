-- Reads a part of the index of an organization's executions, newest activity first.
--
-- KEYS: order, about. ARGV: only activity since this millisecond, how many to leave out, how many,
-- and since when the caller hears every event (0: it does not).
-- Returns: the time in ms, the version (it changes with everything that is no activity), how many
-- executions are listed, what the caller is to look up, and of each that was asked for its id and
-- what `index.lua` returns.
--
-- To look up: `all`, since no caller was asked to after this one began to hear; `stale`, once a
-- minute; else `none`. So many gateways look up as much as one.

local found = redis.call('ZRANGE', order, '+inf', ARGV[1], 'BYSCORE', 'REV', 'LIMIT', ARGV[2],
  ARGV[3], 'WITHSCORES')
local kept = redis.call('HMGET', about, '!version', '!swept')
local swept, sweep = tonumber(kept[2]) or 0, 'none'
-- Another master's clock may have been ahead.
if swept > now then swept = 0 end
-- Without a version nothing is listed, and the key would not expire.
if ARGV[4] ~= '0' and kept[1] then
  if swept < tonumber(ARGV[4]) then
    sweep = 'all'
  elseif swept < now - 60000 then
    sweep = 'stale'
  end
  if sweep ~= 'none' then redis.pcall('HSET', about, '!swept', integer(now)) end
end
local answer = { now, kept[1] or '', redis.call('ZCARD', order), sweep }
for index = 1, #found, 2 do
  local known = redis.call('HMGET', about, found[index])[1]
  if known then
    table.insert(answer, found[index])
    table.insert(answer, integer(tonumber(found[index + 1])) .. ' ' .. known)
  end
end
return answer
