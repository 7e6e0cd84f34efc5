#!lua flags=allow-oom
-- ARGV[5...]: name, beat.
local text = redis.call('HGET', WORKERS, ARGV[5])
if text and cjson.decode(text)[3] == tonumber(ARGV[6]) then redis.call('HDEL', WORKERS, ARGV[5]) end
