#!lua
-- ARGV[5]: epoch; then per repair: digest, expected|'', ruling, until|''. Returns the digests that were outdated, or nil.
local epoch, tail_text = current()
if cjson.decode(epoch).name ~= ARGV[5] then return false end
local tail = parse_end(tail_text)
redis.call('ZCARD', UNTIL) -- as in write: a key of a wrong type must stop the step before it wrote anything
local ms = math.floor(server_time() * 1000)
local outdated = {}
for first = 6, #ARGV, 4 do
  local digest = ARGV[first]
  if (redis.call('HGET', RULINGS, digest) or '') == ARGV[first + 1] then
    append(tail, ms, CANDIDATE.link .. '.' .. first, digest, ARGV[first + 2])
    store(digest, ARGV[first + 2], tonumber(ARGV[first + 3]))
  else
    outdated[#outdated + 1] = digest
  end
end
save_end(tail)
return outdated
