#!lua flags=allow-oom
-- ARGV[5]: the epoch whose log was seen to fork.
local epoch, tail_text = current()
if cjson.decode(epoch).name == ARGV[5] then open_epoch(epoch, tail_text, identity()) end
