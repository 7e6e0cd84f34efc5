-- Shared by every script that touches sessions: the loader puts it after the prelude.
--
-- A session is a hash: record, stamp, seen, ends, handles (32 hex digits each), turn (how often the record was replaced)
-- while it lives; ended, ends once it was ended, so that it is not taken for a lost one. Its second text is a key of its own, so that it goes by itself when its
-- grace is over. The names of these keys follow from the first key: all stand on its slot.

local BASE = string.sub(RULINGS, 1, -#'rulings' - 1)

local function session_key(sid) return BASE .. 's:' .. sid end
local function successors_key(sid) return BASE .. 'g:' .. sid end
local function user_key(user) return BASE .. 'u:' .. user end

local function rulings_on(handles)
  local digests = {}
  for first = 1, #handles, 32 do digests[#digests + 1] = string.sub(handles, first, first + 31) end
  if #digests == 0 then return {} end
  return redis.call('HMGET', RULINGS, unpack(digests))
end

-- What StoredSession holds, or false. A key of a wrong type is that session's fault alone: others share this step.
local function find_session(sid)
  local fields = redis.pcall('HMGET', session_key(sid), 'record', 'stamp', 'seen', 'ends', 'ended', 'handles')
  if fields.err then return {sid, '', '', '', 'of a wrong type', false, '', '', {}} end
  if not fields[4] then return false end
  local successors = fields[1] and redis.call('GET', successors_key(sid))
  local handles = fields[6] or ''
  return {sid, fields[1], fields[2], fields[3], fields[4], fields[5], successors, handles, rulings_on(handles)}
end

local function milliseconds(moment) return string.format('%.0f', math.ceil(moment * 1000)) end

-- The list goes when its last session ends. One that ends sooner never shortens it (GT; a new key has no end yet).
local function list_session(user, sid, ends, ms, now)
  local users = user_key(user)
  redis.call('ZREMRANGEBYSCORE', users, '-inf', now)
  redis.call('ZADD', users, ends, sid)
  if redis.call('PTTL', users) < 0 then
    redis.call('PEXPIREAT', users, ms)
  else
    redis.call('PEXPIREAT', users, ms, 'GT')
  end
end

-- In place of a session whose key is gone.
local function mark_as_ended(sid, ends)
  redis.call('HSET', session_key(sid), 'ended', 1, 'ends', seconds(ends))
  redis.call('PEXPIREAT', session_key(sid), milliseconds(ends))
end
