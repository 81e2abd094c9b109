-- Reads a page of an execution's history after a cursor.
--
-- KEYS: events, meta. ARGV: cursor ('' for none), most bytes of ids and payloads in a page, '1' for
-- entries only if the cursor is valid (else the answer is `reset`, and the first kept id), the
-- organization that must own the execution ('' for any).
-- Returns: cursor status, first kept id, terminal id, terminal type (and `=<status>`), whether the
-- terminal event is kept (1/0), whether more follows (1/0), last id, the epoch with which a
-- restarted run began (else empty), `former` and `counts` of `meta`, then id and payload of each
-- entry. The status is `start` (no cursor), `valid` (the entries follow it), `gap` (it is before
-- what is kept of its epoch), or `reset`. A page never goes beyond the terminal event. Where another
-- organization, or none, owns the execution, the answer is `foreign` and nothing is read.
--
-- XRANGE copies whole payloads, while all other clients wait. So ids are found by counting: those
-- of an epoch have no holes, and what is no longer kept is missing at the front. Only in an epoch
-- before the current one an entry is read just for its id.

local cursor, max_bytes, only_valid = ARGV[1], tonumber(ARGV[2]), ARGV[3] == '1'
local organization = ARGV[4] or ''

local function parts(id)
  local epoch, seq = string.match(id, '^(%d+)-(%d+)$')
  return tonumber(epoch), tonumber(seq)
end

local known = redis.call('HMGET', meta, 'terminal', 'terminal_type', 'epoch', 'seq', 'bytes',
  'organization_id', 'terminal_status', 'run', 'forgotten', 'history_until', 'former', 'counts')
if organization ~= '' and known[6] ~= organization then return { 'foreign' } end
if known[9] then return redis.error_reply('FORGOTTEN this execution was deleted') end
-- That of an ended run has expired, so no other node has it either.
local has_expired = is_alone and known[10] and (number(known[10]) or 0) + 60000 < now_ms()
local refusal = not has_expired and must_wait()
if refusal then return refusal end
local terminal = known[1] or ''
if terminal ~= '' and not parts(terminal) then
  return redis.error_reply('FOREIGN the field terminal of ' .. meta .. ' is no event id')
end
-- Earlier releases did not ask for the right to XLEN: without it nothing can be counted.
local length = has_expired and 0 or redis.pcall('XLEN', events)
if type(length) == 'table' then
  if string.find(length.err, 'WRONGTYPE', 1, true) then return length end
  length = nil
end

local function range(...)
  return has_expired and {} or redis.call('XRANGE', events, ...)
end

local current = { epoch = number(known[3]), seq = number(known[4]), bytes = number(known[5]) }
if not length or not current.epoch or not current.seq then current = nil end

local function is_kept(id)
  local epoch, seq = parts(id)
  if current and epoch == current.epoch and seq > current.seq - length and seq <= current.seq then
    return seq > 0
  end
  -- Costs a payload only where there is one.
  return #range(id, id) == 1
end

local function first_kept()
  if current and length > 0 and length <= current.seq then
    return known[3] .. '-' .. integer(current.seq - length + 1)
  end
  local first = range('-', '+', 'COUNT', 1)[1]
  return first and first[1] or ''
end

local terminal_kept = terminal ~= '' and is_kept(terminal)

-- The reader of a cursor in an epoch after the terminal event's never saw the end.
local valid = cursor ~= '' and is_kept(cursor)
  and not (terminal_kept and parts(cursor) > parts(terminal))
local page = { valid and 'valid' or 'start', '', terminal,
  (known[2] or '') .. (known[7] and '=' .. known[7] or ''),
  terminal_kept and 1 or 0, 0, known[3] and known[4] and known[3] .. '-' .. known[4] or '',
  known[8] or '', known[11] or '', known[12] or '' }

local function payload_of(entry)
  local fields = entry[2]
  for index = 1, #fields, 2 do
    if fields[index] == 'event' then return fields[index + 1] end
  end
  -- A foreign entry; its reader takes it for no event.
  return ''
end

-- How many to read after `entry`: all, if they fit into `left` bytes for sure; else one, since
-- `bytes`, the sum of all payloads up to an entry, tells only the size of all that follow.
local function count_after(entry, left)
  local epoch, seq = parts(entry[1])
  local sum = entry[2][3] == 'bytes' and number(entry[2][4])
  if not current or not current.bytes or epoch ~= current.epoch or not sum then return 1 end
  local follow, size = current.seq - seq, current.bytes - sum
  local fits = size >= 0 and size + follow * #entry[1] <= left
  return fits and math.max(1, follow) or 1
end

local function read(from)
  local bytes, count = 0, 1
  while true do
    local entries = range(from, '+', 'COUNT', count)
    for _, entry in ipairs(entries) do
      local payload = payload_of(entry)
      local size = #entry[1] + #payload
      if bytes > 0 and bytes + size > max_bytes then
        page[6] = 1
        return
      end
      bytes = bytes + size
      table.insert(page, entry[1])
      table.insert(page, payload)
      from = '(' .. entry[1]
      if entry[1] == terminal then return end
    end
    if #entries < count then return end
    count = count_after(entries[#entries], max_bytes - bytes)
  end
end

local function has_come_before(first)
  if first == '' then return false end
  local epoch, seq = parts(cursor)
  local first_epoch, first_seq = parts(first)
  return epoch == first_epoch and seq < first_seq
end

if valid then
  page[2] = first_kept()
  read('(' .. cursor)
  return page
end
if cursor ~= '' and only_valid then
  page[1], page[2] = 'reset', first_kept()
  return page
end
read('-')
page[2] = page[11] or ''
if cursor ~= '' then page[1] = has_come_before(page[2]) and 'gap' or 'reset' end
return page
