-- Counts the streams of one organization over all gateway instances, and lets new ones in.
--
-- KEYS: the organization's census, a hash: instance -> `<streams>:<millisecond its lease ends>`.
-- ARGV: instance, streams that it holds, streams that it wants beside them, limit, lease in ms.
-- Returns: how many of the wanted ones it may open; they count from now on.
--
-- An instance always says its whole count, so a call repeated or lost leaves no drift. One that
-- died says nothing, and stops counting when its lease ends.

local census, instance = KEYS[1], ARGV[1]
local held, wanted = tonumber(ARGV[2]), tonumber(ARGV[3])
local limit, lease = tonumber(ARGV[4]), tonumber(ARGV[5])

local time = redis.call('TIME')
local now = tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)

local others = 0
local fields = redis.call('HGETALL', census)
for index = 1, #fields, 2 do
  local streams, ends = string.match(fields[index + 1], '^(%d+):(%d+)$')
  if fields[index] ~= instance then
    -- No lease that was ever given ends later than a new one by much: what does is no gateway's.
    if ends and tonumber(ends) > now and tonumber(ends) <= now + 2 * lease then
      others = others + tonumber(streams)
    else
      redis.call('HDEL', census, fields[index])
    end
  end
end

local granted = math.max(0, math.min(wanted, limit - others - held))
if held + granted > 0 then
  redis.call('HSET', census, instance, string.format('%d:%d', held + granted, now + lease))
  -- No other lease ends later than this one, so the key goes when the last instance has.
  redis.call('PEXPIRE', census, lease)
else
  redis.call('HDEL', census, instance)
end
return granted
