#!lua flags=allow-oom
-- ARGV[5...]: name, reach, acknowledged, beat, healing 1|0, epoch, healed 1|0, settled 1|0.
-- Returns epoch, end, whether the worker was registered, workers.
local name, reach, acknowledged, beat, healing = unpack(ARGV, 5, 9)
local epoch, tail_text = current()
local record = cjson.decode(epoch)
local is_current = ARGV[10] == record.name
local was_registered = redis.call('HEXISTS', WORKERS, name)
redis.call('HSET', WORKERS, name,
  string.format('[%s,%s,%s,%s]', reach, is_current and acknowledged or '-1', beat, healing))
local workers = all_workers()

local function is_any_healing()
  for index = 2, #workers, 2 do
    if cjson.decode(workers[index])[4] ~= 0 then return true end
  end
  return false
end

local is_changed = false
local function set(field, value)
  if record[field] ~= value then record[field], is_changed = value, true end
end
if #workers == 2 then set('lease', CANDIDATE.lease) end
set('reach', longest(record.reach, longest(tonumber(reach), CANDIDATE.reach)))
if is_current and ARGV[12] == '1' then set('settled', 1) end
if is_current and ARGV[11] == '1' and not is_any_healing() then set('healed', 1) end
if is_changed then epoch = save_epoch(record) end
return {epoch, tail_text, was_registered, workers}
