#!lua flags=allow-oom
-- ARGV: commands as JSON lists, none of which changes anything (probing.py). Returns what each was refused with, or ''.
local refusals = {}
for index, text in ipairs(ARGV) do
  local answer = redis.pcall(unpack(cjson.decode(text)))
  refusals[index] = type(answer) == 'table' and answer.err or ''
end
return refusals
