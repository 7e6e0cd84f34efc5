#!lua flags=allow-oom
-- ARGV[5...]: names of sessions that were seen. Only a live one has a record, and nothing is made here.
local now = seconds(server_time())
for index = 5, #ARGV do
  local key = session_key(ARGV[index])
  if redis.call('HEXISTS', key, 'record') == 1 then redis.call('HSET', key, 'seen', now) end
end
