-- The keys of one execution. Every script of its history begins with this part.
--
-- While a slot of a Redis Cluster moves, a script that declares a key which does not exist is
-- refused (TRYAGAIN) until the whole slot has moved: minutes. So the keys that a script declares
-- there are made together: `events` (empty until the first event), `meta`, and `memory`, a hash of
-- what has keys of its own elsewhere. Before they are made, and only then, `meta` alone is
-- declared: the caller sends a script that was refused again like that, once. Where there is
-- `meta`, the others may still be at the other node, and must not be made a second time.

local function integer(value)
  return string.format('%.0f', value)
end

-- A number from Redis, or nil for text that we have not written: 15 digits are exact in Lua.
local function number(text)
  return text and #text <= 15 and string.match(text, '^%d+$') and tonumber(text) or nil
end

local function now_ms()
  local time = redis.call('TIME')
  return tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)
end

local is_alone = #KEYS == 1
local meta = KEYS[2] or KEYS[1]

local function own(name)
  return (string.gsub(meta, 'meta$', name))
end

local events = is_alone and own('events') or KEYS[1]
-- nil on a single Redis.
local memory = (is_alone or KEYS[3] == own('memory')) and own('memory') or nil

-- For a script that is about to use other keys than `meta`: the error to answer with, if it must
-- not. `needs_more`: it needs keys that it was not given either.
local function must_wait(needs_more)
  return is_alone and (needs_more or redis.call('EXISTS', meta) == 1)
    and redis.error_reply('TRYAGAIN keys of this execution are at two nodes') or nil
end
