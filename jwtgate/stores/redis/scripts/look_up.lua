#!lua flags=allow-oom
-- ARGV[5]: how many sessions; then their names; then digests.
-- Returns epoch, end, the encoded ruling or nil of each digest, each session or nil, and the time where one was asked for.
local epoch, tail_text = current()
local sessions, first_digest = {}, 6 + tonumber(ARGV[5])
for index = 6, first_digest - 1 do sessions[index - 5] = find_session(ARGV[index]) end
local rulings = {}
for first = first_digest, #ARGV, 1000 do -- unpack is bounded by the Lua stack
  for _, ruling in ipairs(redis.call('HMGET', RULINGS, unpack(ARGV, first, math.min(first + 999, #ARGV)))) do
    rulings[#rulings + 1] = ruling
  end
end
return {epoch, tail_text, rulings, sessions, #sessions > 0 and seconds(server_time())}
