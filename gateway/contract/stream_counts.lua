-- Counts the streams of one organization over all gateway instances, and lets new ones in.
--
-- KEYS: the organization's counts, a hash: instance -> `<streams>:<millisecond its lease ends>`.
-- ARGV: instance, its open streams, how many more want to open, limit, lease in ms.
-- Returns: how many of these may open; they count from now on.
--
-- An instance always reports its whole count, so a repeated or lost call leaves no drift. One that
-- died is no longer counted when its lease ends.

local counts, instance = KEYS[1], ARGV[1]
local open, wanted = tonumber(ARGV[2]), tonumber(ARGV[3])
local limit, lease = tonumber(ARGV[4]), tonumber(ARGV[5])

local time = redis.call('TIME')
local now = tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)

local others = 0
local fields = redis.call('HGETALL', counts)
for index = 1, #fields, 2 do
  local streams, ends = string.match(fields[index + 1], '^(%d+):(%d+)$')
  if fields[index] ~= instance then
    -- A gateway's lease does not end much later than a new one: what does is a foreign value.
    if ends and tonumber(ends) > now and tonumber(ends) <= now + 2 * lease then
      others = others + tonumber(streams)
    else
      redis.call('HDEL', counts, fields[index])
    end
  end
end

local granted = math.max(0, math.min(wanted, limit - others - open))
if open + granted > 0 then
  redis.call('HSET', counts, instance, string.format('%d:%d', open + granted, now + lease))
  -- No other lease ends later, so the key expires with the last instance.
  redis.call('PEXPIRE', counts, lease)
else
  redis.call('HDEL', counts, instance)
end
return granted
