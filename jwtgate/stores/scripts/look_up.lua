#!lua flags=allow-oom
-- ARGV[5...]: digests. Returns epoch, end, the encoded ruling or nil of each.
local epoch, tail_text = current()
local rulings = {}
for first = 5, #ARGV, 1000 do -- unpack is bounded by the Lua stack
  for _, ruling in ipairs(redis.call('HMGET', RULINGS, unpack(ARGV, first, math.min(first + 999, #ARGV)))) do
    rulings[#rulings + 1] = ruling
  end
end
return {epoch, tail_text, rulings}
