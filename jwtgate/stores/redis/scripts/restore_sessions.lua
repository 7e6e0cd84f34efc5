#!lua
-- ARGV[5]: epoch; ARGV[6]: 1 with the last of all sessions that a journal has|''; then per session: sid, user, record|'' where
-- it was ended, stamp, handles, ends, seen, turn. Returns 1; nil: the epoch is another one, and nothing was put back.
--
-- Put back is what the store lacks: a session that is absent, the later record of one, the end of one. Nothing that was ended
-- here lives again, and no record is replaced by an earlier one.
local epoch = current()
local record = cjson.decode(epoch)
if record.name ~= ARGV[5] then return false end
local now = server_time()

local function number(text) return tonumber(text or '') or 0 end

local function restore(sid, user, text, stamp, handles, ends, seen, turn)
  local key = session_key(sid)
  local found = redis.pcall('HMGET', key, 'record', 'ends', 'turn', 'stamp')
  local listed = redis.pcall('ZCARD', user_key(user))
  if found.err or type(listed) == 'table' then return end -- of a wrong type: that session's fault alone
  local is_absent, is_live = not found[2], found[1]
  if not (is_absent or is_live) then return end
  if text == '' then
    redis.call('ZREM', user_key(user), sid)
    redis.call('DEL', key, successors_key(sid))
    mark_as_ended(sid, math.max(number(ends), number(found[2])))
  elseif is_absent or number(found[3]) < number(turn) then
    local ms = milliseconds(number(ends))
    redis.call('DEL', key, successors_key(sid))
    redis.call('HSET', key, 'record', text, 'handles', handles, 'ends', ends, 'seen', seen, 'turn', turn,
      'stamp', stamp ~= '' and stamp or found[4] or '')
    redis.call('PEXPIREAT', key, ms)
    list_session(user, sid, ends, ms, seconds(now))
  end
end

for first = 7, #ARGV, 8 do
  if number(ARGV[first + 5]) > now then restore(unpack(ARGV, first, first + 7)) end
end
if ARGV[6] == '1' and record.restored ~= 1 then
  record.restored = 1
  save_epoch(record)
end
return 1
