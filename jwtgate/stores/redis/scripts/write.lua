#!lua
-- ARGV[5]: the caller's clock; then, each list behind its length:
--   changes: digest, revoked 1|0|'', cuts_off 1|'', min_version|'', until|'', cut_at|''
--   the guard's handles that may not be revoked; those whose latest toggle must be that of: epoch|'', position|'';
--   its user|''; the user's sessions
--   sessions: sid, user, put|end, and to put one: expected|'', record, handles, ends, seen, successors|'', their ms|'',
--     stamp|'', turn
-- W1: rulings, log entries, sessions and the reading of the workers are this one step. A write that only puts sessions
-- has nothing that a worker must hear: it sweeps no rulings, moves no end and tells no workers.
-- Returns epoch, end, at, rulings, workers; nil: the guard or an expectation does not hold, and nothing was written.
local TICK_SECONDS = 0.000001 -- between two toggles of one handle
local SWEPT = 16 -- per write: more than a write adds, and bounded

local now, time = tonumber(ARGV[5]), server_time()
check_clocks(time, now)
local at = math.max(time, now)

local cursor = 5
local function take()
  cursor = cursor + 1
  return ARGV[cursor]
end
local function take_list(read)
  local list = {}
  for index = 1, tonumber(take()) do list[index] = read() end
  return list
end
local function take_change()
  local digest, revoked, cuts_off, version, till, cut = take(), take(), take(), take(), take(), take()
  return {
    digest = digest, revoked = revoked, cuts_off = cuts_off, version = tonumber(version), till = tonumber(till),
    cut = tonumber(cut)}
end
local function take_session()
  local sid, owner, step = take(), take(), take()
  if step ~= 'put' then return {sid = sid, user = owner} end
  local expected, record, handles, ends, seen, successors, ms = take(), take(), take(), take(), take(), take(), take()
  local stamp, turn = take(), take()
  return {
    sid = sid, user = owner, is_put = true, expected = expected, record = record, handles = handles,
    ends = tonumber(ends), ends_text = ends, seen = seen, successors = successors, ms = tonumber(ms),
    stamp = stamp ~= '' and stamp or nil, turn = turn}
end
local function take_toggled()
  local digest, of_epoch, position = take(), take(), take()
  return {digest = digest, epoch = of_epoch, position = tonumber(position)}
end
local changes, unless_revoked, toggled = take_list(take_change), take_list(take), take_list(take_toggled)
local user = take()
local user_sids, sessions = take_list(take), take_list(take_session)

local epoch, tail_text = current()
local name, tail = cjson.decode(epoch).name, parse_end(tail_text)

local is_quiet = #changes == 0 and #sessions > 0
for _, session in ipairs(sessions) do is_quiet = is_quiet and session.is_put end

-- A script is not rolled back, so a key of a wrong type must stop it before it wrote anything: each other key is read
-- first, and the log is the first that is written to.
local workers, expired = {}, {}
if not is_quiet then
  workers = all_workers()
  -- By the earlier clock: ``until`` has its own margin, and a clock that runs ahead must not eat it.
  expired = redis.call('ZRANGEBYSCORE', UNTIL, '-inf', '(' .. seconds(math.min(time, now)), 'LIMIT', 0, SWEPT)
end
local known = {}
for _, digest in ipairs(expired) do known[digest] = {} end

local function ruling_on(digest)
  if known[digest] == nil then
    local text = redis.call('HGET', RULINGS, digest)
    known[digest] = text and cjson.decode(text) or {}
    known[digest].known = text
  end
  return known[digest]
end

-- The same as jwtgate.core.rulings.supersede.
local function supersede(old, change, position)
  local ruling = {r = old.r, n = old.n, v = old.v, t = old.t, u = change.till, known = true}
  if change.revoked ~= '' then
    ruling.r = {tonumber(change.revoked), name, position, old.r and math.max(at, old.r[4] + TICK_SECONDS) or at}
  end
  if change.cuts_off == '1' then ruling.n = {name, position, old.n and math.max(at, old.n[3]) or at} end
  if change.version then ruling.v = old.v and math.max(old.v, change.version) or change.version end
  if change.cut then
    local cut = math.min(change.cut, at)
    ruling.t = old.t and math.max(old.t, cut) or cut
  end
  if old.known then ruling.u = old.u and change.till and math.max(old.u, change.till) end
  return ruling
end

local function encode(ruling)
  local parts = {}
  local r, n = ruling.r, ruling.n
  if r then
    parts[#parts + 1] = string.format('"r":[%d,%s,%.0f,%s]', r[1], cjson.encode(r[2]), r[3], seconds(r[4]))
  end
  if n then parts[#parts + 1] = string.format('"n":[%s,%.0f,%s]', cjson.encode(n[1]), n[2], seconds(n[3])) end
  if ruling.v then parts[#parts + 1] = string.format('"v":%.0f', ruling.v) end
  if ruling.t then parts[#parts + 1] = '"t":' .. seconds(ruling.t) end
  if ruling.u then parts[#parts + 1] = '"u":' .. seconds(ruling.u) end
  return '{' .. table.concat(parts, ',') .. '}'
end

local function guard_holds()
  for _, digest in ipairs(unless_revoked) do
    local toggle = ruling_on(digest).r
    if toggle and toggle[1] == 1 then return false end
  end
  for _, seen in ipairs(toggled) do
    local toggle = ruling_on(seen.digest).r
    if (toggle and toggle[2] or '') ~= seen.epoch or (toggle and toggle[3]) ~= seen.position then return false end
  end
  if user == '' then return true end
  local wanted, live = {}, redis.call('ZRANGE', user_key(user), '(' .. seconds(time), '+inf', 'BYSCORE')
  for _, sid in ipairs(user_sids) do wanted[sid] = true end
  for _, sid in ipairs(live) do
    if not wanted[sid] then return false end
  end
  return #live == #user_sids
end

-- What stands there need not be ours, and an error below would leave half a step behind. Nil: no moment of this age.
local function moment_of(text)
  local moment = tonumber(text)
  return moment and math.abs(moment) < 1e12 and moment or nil
end

-- Whether each session is as expected; reads every key that is written to below.
local function sessions_hold()
  local hold = true
  for _, session in ipairs(sessions) do
    local fields = redis.call('HMGET', session_key(session.sid), 'record', 'ends')
    session.user_has = redis.call('ZCARD', user_key(session.user))
    session.has_successors = redis.call('STRLEN', successors_key(session.sid)) > 0
    session.is_new, session.found, session.found_ends = not fields[2], fields[1], moment_of(fields[2] or '')
    if session.is_put and (session.found or '') ~= session.expected then hold = false end
    if session.is_put and session.expected == '' and not session.is_new then hold = false end
  end
  return hold
end

if not (guard_holds() and sessions_hold()) then return false end

local digests, rulings = {}, {}
for index, change in ipairs(changes) do
  local ruling = supersede(ruling_on(change.digest), change, tail.position + index)
  known[change.digest] = ruling
  digests[index], rulings[index] = change.digest, encode(ruling)
end

for index, digest in ipairs(digests) do
  append(tail, math.floor(time * 1000), CANDIDATE.link .. '.' .. index, digest, rulings[index])
end
if #expired > 0 then
  redis.call('HDEL', RULINGS, unpack(expired))
  redis.call('ZREM', UNTIL, unpack(expired))
end
for index, digest in ipairs(digests) do store(digest, rulings[index], known[digest].u) end

local function put(session)
  local key = session_key(session.sid)
  if session.is_new then
    redis.call('HSET', key, 'record', session.record, 'handles', session.handles, 'ends', session.ends_text,
      'seen', session.seen, 'turn', session.turn, 'stamp', session.stamp or string.format('%s:%.0f', name, tail.position))
  else
    redis.call('HSET', key, 'record', session.record, 'handles', session.handles, 'ends', session.ends_text,
      'seen', session.seen, 'turn', session.turn)
  end
  if session.found_ends ~= session.ends or session.user_has == 0 then -- a rotation seldom moves the end
    local ms = milliseconds(session.ends)
    redis.call('PEXPIREAT', key, ms)
    list_session(session.user, session.sid, session.ends_text, ms, seconds(time))
  end
  if session.ms then
    redis.call('SET', successors_key(session.sid), session.successors, 'PX', session.ms)
  elseif session.has_successors then
    redis.call('DEL', successors_key(session.sid))
  end
end

local function finish(session)
  redis.call('ZREM', user_key(session.user), session.sid)
  if session.found then
    redis.call('DEL', session_key(session.sid), successors_key(session.sid))
  end
  if session.found and session.found_ends then mark_as_ended(session.sid, session.found_ends) end
end

for _, session in ipairs(sessions) do
  if session.is_put then put(session) else finish(session) end
end
if not is_quiet then tail_text = save_end(tail) end
return {epoch, tail_text, seconds(at), rulings, workers}
