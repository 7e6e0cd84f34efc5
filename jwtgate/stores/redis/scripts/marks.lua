#!lua flags=allow-oom
-- ARGV[5...]: until|'', name, limit. Returns epoch, a flat list of names and "<until> <value>", and the cursor of the next page.
local after, name, limit = tonumber(ARGV[5]), ARGV[6], tonumber(ARGV[7])
local epoch = current()
local now = server_time()
local first = redis.call('ZCOUNT', ENDS, '-inf', '(' .. seconds(now))
if after then -- behind what was told last; where that is gone, all that ends before it is as well
  local rank = redis.call('ZRANK', ENDS, name)
  first = math.max(first, rank and rank + 1 or redis.call('ZCOUNT', ENDS, '-inf', '(' .. seconds(after)))
end
local found = redis.call('ZRANGE', ENDS, first, first + limit)
local page = {}
for index, each in ipairs(found) do
  if index <= limit then
    local text = redis.call('HGET', KEPT, each)
    if text then
      page[#page + 1] = each
      page[#page + 1] = text
    end
  end
end
local behind = #found > limit and redis.call('ZSCORE', ENDS, found[limit]) .. ' ' .. found[limit]
return {epoch, page, behind}
