#!lua flags=allow-oom
-- ARGV[5]: the epoch whose log was seen to fork.
local record, tail = current()
if record.name == ARGV[5] then open_epoch(record, tail, identity()) end
