-- The keys of one organization's index, and the time. Both of its scripts begin with this part.

-- On a cluster `about` alone is declared before both are made; see `own_keys.lua`.
local about = KEYS[2] or KEYS[1]
local order = string.gsub(about, 'about$', 'order')
if #KEYS == 1 and redis.call('EXISTS', about) == 1 then
  return redis.error_reply('TRYAGAIN keys of this index are at two nodes')
end

local function integer(value)
  return string.format('%.0f', value)
end

local time = redis.call('TIME')
local now = tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)
