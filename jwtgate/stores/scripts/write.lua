#!lua
-- ARGV[5]: the caller's clock; then per change: digest, revoked 1|0|'', cuts_off 1|'', min_version|'', until|''.
-- W1: rulings, log entries and the reading of the workers are this one step. Returns epoch, end, at, rulings, workers.
local MAX_SKEW_SECONDS = 60
local TICK_SECONDS = 0.000001 -- between two toggles of one handle
local SWEPT = 16 -- per write: more than a write adds, and bounded

local now, time = tonumber(ARGV[5]), server_time()
if not (math.abs(time - now) <= MAX_SKEW_SECONDS) then
  return redis.error_reply(string.format(
    'CLOCK the clocks of the store and the caller are over %d s apart: %.3f and %.3f', MAX_SKEW_SECONDS, time, now))
end
local at = math.max(time, now)
local epoch, tail_text = current()
local name, tail = cjson.decode(epoch).name, parse_end(tail_text)

-- A script is not rolled back, so a key of a wrong type must stop it before it wrote anything: each other key is read
-- first, and the log is the first that is written to.
local workers = all_workers()
-- By the earlier clock: ``until`` has its own margin, and a clock that runs ahead must not eat it.
local expired = redis.call('ZRANGEBYSCORE', UNTIL, '-inf', '(' .. seconds(math.min(time, now)), 'LIMIT', 0, SWEPT)
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
  local ruling = {r = old.r, n = old.n, v = old.v, u = change.till, known = true}
  if change.revoked ~= '' then
    ruling.r = {tonumber(change.revoked), name, position, old.r and math.max(at, old.r[4] + TICK_SECONDS) or at}
  end
  if change.cuts_off == '1' then ruling.n = {name, position, old.n and math.max(at, old.n[3]) or at} end
  if change.version then ruling.v = old.v and math.max(old.v, change.version) or change.version end
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
  if ruling.u then parts[#parts + 1] = '"u":' .. seconds(ruling.u) end
  return '{' .. table.concat(parts, ',') .. '}'
end

local digests, rulings = {}, {}
for first = 6, #ARGV, 5 do
  local change = {
    revoked = ARGV[first + 1], cuts_off = ARGV[first + 2],
    version = tonumber(ARGV[first + 3]), till = tonumber(ARGV[first + 4])}
  local index, digest = #digests + 1, ARGV[first]
  local ruling = supersede(ruling_on(digest), change, tail.position + index)
  known[digest] = ruling
  digests[index], rulings[index] = digest, encode(ruling)
end

for index, digest in ipairs(digests) do
  append(tail, math.floor(time * 1000), CANDIDATE.link .. '.' .. index, digest, rulings[index])
end
if #expired > 0 then
  redis.call('HDEL', RULINGS, unpack(expired))
  redis.call('ZREM', UNTIL, unpack(expired))
end
for index, digest in ipairs(digests) do store(digest, rulings[index], known[digest].u) end
return {epoch, save_end(tail), seconds(at), rulings, workers}
