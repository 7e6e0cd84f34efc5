#!lua flags=allow-oom
-- Returns epoch, end, workers.
local record, tail = current()
return {epoch_line(record), end_line(tail), redis.call('HGETALL', WORKERS)}
