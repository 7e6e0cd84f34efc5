#!lua flags=allow-oom
-- ARGV: keys. Returns the type of each.
local types = {}
for index, key in ipairs(ARGV) do types[index] = redis.call('TYPE', key).ok end
return types
