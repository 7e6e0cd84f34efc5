#!lua
-- ARGV[5...]: name, value, until, the caller's clock, group.
-- Returns epoch, 1: it is new, the time, and since when nothing was lost.
local SWEPT = 16 -- per call: more than a call adds, and bounded
local name, value, till, now, group = ARGV[5], ARGV[6], tonumber(ARGV[7]), tonumber(ARGV[8]), ARGV[9]
local epoch = current()
local time = server_time()
check_clocks(time, now)
local at = math.min(time, now) -- a clock that runs ahead must not bring an end nearer
local fields = redis.call('HMGET', KEPT, name, 'since')
local known, since = fields[1], tonumber(fields[2] or '')
local over = redis.call('ZRANGEBYSCORE', ENDS, '-inf', '(' .. seconds(at), 'LIMIT', 0, SWEPT)

-- What is known not to have been lost with the epoch record, being in the same hash: that there were such keys once.
local function begin()
  local is_first = redis.call('HEXISTS', RULINGS, 'marks:' .. group) == 0
  redis.call('HSET', RULINGS, 'marks:' .. group, '1')
  redis.call('DEL', KEPT, ENDS)
  since, known, over = is_first and cjson.decode(epoch).birth or time, nil, {}
  redis.call('HSET', KEPT, 'since', seconds(since))
end
if not since or redis.call('HLEN', KEPT) ~= redis.call('ZCARD', ENDS) + 1 then begin() end

local is_new = not known or tonumber(string.match(known, '^[^ ]+')) < at
if #over > 0 then
  redis.call('ZREM', ENDS, unpack(over))
  redis.call('HDEL', KEPT, unpack(over))
end
if is_new then
  redis.call('ZADD', ENDS, seconds(till), name)
  redis.call('HSET', KEPT, name, seconds(till) .. ' ' .. value)
end
return {epoch, is_new and 1 or 0, seconds(time), seconds(since)}
