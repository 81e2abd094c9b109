-- Reads a page of an execution's history after a cursor, and says what the cursor is worth.
--
-- KEYS: events, meta. ARGV: cursor ('' for none), bytes of payload that a page may hold.
-- Returns: verdict, first kept id, terminal id, terminal type, whether the terminal event is kept
-- (1/0), whether more follows (1/0), last id, then id and payload of each entry. The verdict is `start` (no
-- cursor), `honoured` (the entries follow it), `gap` (it lies before what is kept), or `reset` (it
-- belongs to another life). A page never goes beyond the terminal event.

local events, meta = KEYS[1], KEYS[2]
local cursor, max_bytes = ARGV[1], tonumber(ARGV[2])

local function parts(id)
  local epoch, seq = string.match(id, '^(%d+)-(%d+)$')
  return tonumber(epoch), tonumber(seq)
end

local first = redis.call('XRANGE', events, '-', '+', 'COUNT', 1)[1]
local ending = redis.call('HMGET', meta, 'terminal', 'terminal_type', 'epoch', 'seq')
local terminal = ending[1] or ''
local terminal_kept = terminal ~= '' and #redis.call('XRANGE', events, terminal, terminal) == 1

local function is_before_first()
  if not first then return false end
  local epoch, seq = parts(cursor)
  local first_epoch, first_seq = parts(first[1])
  return epoch == first_epoch and seq < first_seq
end

-- In another life than the terminal event's, but after it: such a reader never saw the end.
local function is_beyond_the_end()
  if not terminal_kept then return false end
  local epoch = parts(cursor)
  local terminal_epoch = parts(terminal)
  return epoch > terminal_epoch
end

local verdict, from = 'start', '-'
if cursor ~= '' then
  local is_kept = #redis.call('XRANGE', events, cursor, cursor) == 1
  if is_kept and not is_beyond_the_end() then
    verdict, from = 'honoured', '(' .. cursor
  elseif is_before_first() then
    verdict = 'gap'
  else
    verdict = 'reset'
  end
end

local page = { verdict, first and first[1] or '', terminal, ending[2] or '',
  terminal_kept and 1 or 0, 0, ending[3] and ending[4] and ending[3] .. '-' .. ending[4] or '' }
local bytes, at_once, done = 0, 16, false
while not done do
  local entries = redis.call('XRANGE', events, from, '+', 'COUNT', at_once)
  for _, entry in ipairs(entries) do
    local payload = entry[2][2]
    if bytes > 0 and bytes + #payload > max_bytes then
      page[6], done = 1, true
      break
    end
    bytes = bytes + #payload
    table.insert(page, entry[1])
    table.insert(page, payload)
    from = '(' .. entry[1]
    if entry[1] == terminal then
      done = true
      break
    end
  end
  if #entries < at_once then done = true end
end
return page
