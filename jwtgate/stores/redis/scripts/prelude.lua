-- Shared by every script: the loader puts it after the script's first line.
--
-- That first line is "#!lua" and never carries no-writes: a replica refuses such a script, even one that only reads,
-- where it would answer a plain one from stale data. allow-oom stands where the step writes no ruling: a full server
-- goes on telling what is revoked.

local RULINGS, UNTIL, LOG, WORKERS = KEYS[1], KEYS[2], KEYS[3], KEYS[4]
-- What the caller puts into an epoch record or a log end, if one must be opened. A reach of -1 is without bound; where there
-- are several partitions their number stands behind it: "1.0/4".
local REACH, SPREAD = string.match(ARGV[4], '^([^/]+)(.*)$')
local CANDIDATE = {name = ARGV[1], link = ARGV[2], lease = tonumber(ARGV[3]), reach = tonumber(REACH)}
local PARTITIONS = SPREAD == '' and '1' or string.sub(SPREAD, 2)
local KEPT_MS = 120000 -- of the log: many leases, so that only a follower paused for minutes must reload

local MAX_SKEW_SECONDS = 60

local function server_time()
  local time = redis.call('TIME')
  return tonumber(time[1]) + tonumber(time[2]) / 1000000
end

local function check_clocks(time, now)
  if not (math.abs(time - now) <= MAX_SKEW_SECONDS) then
    error({err = string.format(
      'CLOCK the clocks of the store and the caller are over %d s apart: %.3f and %.3f', MAX_SKEW_SECONDS, time, now)})
  end
end

-- Fewest digits that bring the double back: cjson prints 14, which would bend a time in microseconds.
local function seconds(value)
  if value ~= value or math.abs(value) == math.huge then error('a time is not a finite number') end
  for _, format in ipairs({'%.15g', '%.16g', '%.17g'}) do
    local text = string.format(format, value)
    if tonumber(text) == value then
      return string.find(text, '[.en]') and text or text .. '.0'
    end
  end
  error('a time is not a number')
end

local function longest(one, other)
  if one < 0 or other < 0 then return -1 end
  return math.max(one, other)
end

local function save_epoch(record)
  local text = string.format(
    '{"name":%s,"birth":%s,"run_id":"%s","replid":"%s","lease":%s,"reach":%s,"partitions":%s,"healed":%d,'
      .. '"settled":%d,"restored":%d}',
    cjson.encode(record.name), seconds(record.birth), record.run_id, record.replid,
    seconds(record.lease), seconds(record.reach), PARTITIONS, record.healed, record.settled, record.restored or 0)
  redis.call('HSET', RULINGS, 'epoch', text)
  return text
end

local function cursor_of(tail) return string.format('%.0f-%.0f', tail.ms, tail.position) end

local function save_end(tail)
  local text = string.format('%.0f %s %s', tail.position, tail.link, cursor_of(tail))
  redis.call('HSET', RULINGS, 'end', text)
  return text
end

local function parse_end(text)
  local position, link, ms = string.match(text, '^(%d+) ([%w_.%-]+) (%d+)-%d+$')
  if not position then error('the log end is not one of ours') end
  return {position = tonumber(position), link = link, ms = tonumber(ms)}
end

-- run_id and master_replid, 40 characters each. A promoted replica shows in run_id. A primary that was demoted, took over its
-- successor's data and was promoted again has the run_id of old and may lack what it had written last: only master_replid
-- tells. That one also changes, for nothing, with a primary's first replica and an hour after its last one left; then
-- master_replid2 is empty, but it is so, too, an hour after such a return. So both must be the same. Plain finds: patterns took 10 us more on each look-up.
local function identity()
  local info = redis.call('INFO', 'server', 'replication')
  local _, before_run_id = string.find(info, '\nrun_id:', 1, true)
  local _, before_replid = string.find(info, '\nmaster_replid:', before_run_id, true)
  return string.sub(info, before_run_id + 1, before_run_id + 40), string.sub(info, before_replid + 1, before_replid + 40)
end

local function is_of(text, run_id, replid, listed)
  if string.find(text, '"run_id":"' .. run_id .. '","replid":"' .. replid .. '"', 1, true)
    and string.find(text, '"name":"' .. listed .. '"', 1, true) then return true end
  local record = cjson.decode(text) -- another program may have written it with blanks
  return record.run_id == run_id and record.replid == replid and record.name == listed
end

local function open_epoch(text, tail_text, run_id, replid)
  local old = text and cjson.decode(text)
  local record = {
    name = CANDIDATE.name, birth = server_time(), run_id = run_id, replid = replid, lease = CANDIDATE.lease,
    reach = longest(old and old.reach or 0, CANDIDATE.reach), healed = 0, settled = 0}
  redis.call('DEL', WORKERS)
  redis.call('HSET', WORKERS, 'epoch', record.name)
  if not tail_text then
    redis.call('DEL', LOG) -- its ids and links belong to a history whose end is lost
    tail_text = save_end({position = 0, link = CANDIDATE.link, ms = math.floor(record.birth * 1000)})
  end
  return save_epoch(record), tail_text
end

-- W1: the list names its epoch, so that a lost list is never taken for an empty one.
local function all_workers()
  local flat, workers = redis.call('HGETALL', WORKERS), {}
  for index = 1, #flat, 2 do
    if flat[index] ~= 'epoch' then
      workers[#workers + 1] = flat[index]
      workers[#workers + 1] = flat[index + 1]
    end
  end
  return workers
end

-- Who spreads over another number would look for rulings where they are not.
local function check_partitions(text)
  if string.find(text, '"partitions":' .. PARTITIONS .. ',', 1, true) then return end
  local kept = tostring(cjson.decode(text).partitions or 1)
  if kept ~= PARTITIONS then
    error({err = string.format('PARTITIONS the store was made with JWTGATE_PARTITIONS=%s, not %s', kept, PARTITIONS)})
  end
end

-- H1: the epoch record and the log's end as they are stored, after comparing the record with the server's identity.
-- They travel as they are: the caller knows most of them already.
local function current()
  local fields = redis.call('HMGET', RULINGS, 'epoch', 'end')
  local text, tail_text = fields[1], fields[2]
  if text then check_partitions(text) end
  local run_id, replid = identity()
  local listed = redis.call('HGET', WORKERS, 'epoch')
  if text and tail_text and listed and is_of(text, run_id, replid, listed) then return text, tail_text end
  return open_epoch(text, tail_text, run_id, replid)
end

-- H2. Ids grow even if the server's clock steps back: the position breaks the tie.
local function append(tail, ms, link, digest, ruling)
  local previous = tail.link
  tail.position, tail.link, tail.ms = tail.position + 1, link, math.max(ms, tail.ms)
  redis.call('XADD', LOG, 'MINID', '~', string.format('%.0f', ms - KEPT_MS), cursor_of(tail),
    'link', link, 'previous', previous, 'digest', digest, 'ruling', ruling)
end

local function store(digest, ruling, till)
  if till then
    redis.call('ZADD', UNTIL, seconds(till), digest)
  else
    redis.call('ZREM', UNTIL, digest)
  end
  redis.call('HSET', RULINGS, digest, ruling)
end
