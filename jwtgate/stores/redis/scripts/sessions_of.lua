#!lua flags=allow-oom
-- ARGV[5]: the user; ARGV[6] of its live sessions are passed over; ARGV[7]: at most so many. Returns what look_up does, with
-- these sessions, those that end last first.
local epoch, tail_text = current()
local now = seconds(server_time())
local sessions = {}
for _, sid in ipairs(redis.call('ZRANGE', user_key(ARGV[5]), '+inf', '(' .. now, 'BYSCORE', 'REV', 'LIMIT', ARGV[6], ARGV[7])) do
  local session = find_session(sid)
  if session and session[2] then
    sessions[#sessions + 1] = session
  else -- evicted or deleted: a login that compares the list must not wait for its end
    redis.call('ZREM', user_key(ARGV[5]), sid)
  end
end
return {epoch, tail_text, {}, sessions, now}
