#!lua flags=allow-oom
-- ARGV[5...]: group, until|'', name, limit. Returns epoch, a flat list of names and "<until> <value>", and the cursor of the next page.
local group, after, name, limit = ARGV[5], tonumber(ARGV[6]), ARGV[7], tonumber(ARGV[8])
local epoch = current()
local kept, ends = mark_keys(group)
local now = server_time()
local first = redis.call('ZCOUNT', ends, '-inf', '(' .. seconds(now))
if after then -- behind what was told last; where that is gone, all that ends before it is as well
  local rank = redis.call('ZRANK', ends, name)
  first = math.max(first, rank and rank + 1 or redis.call('ZCOUNT', ends, '-inf', '(' .. seconds(after)))
end
local found = redis.call('ZRANGE', ends, first, first + limit)
local page = {}
for index, each in ipairs(found) do
  if index <= limit then
    local text = redis.call('HGET', kept, each)
    if text then
      page[#page + 1] = each
      page[#page + 1] = text
    end
  end
end
local behind = #found > limit and redis.call('ZSCORE', ends, found[limit]) .. ' ' .. found[limit]
return {epoch, page, behind}
