#!lua flags=allow-oom
-- Returns epoch, end, workers.
local epoch, tail_text = current()
return {epoch, tail_text, all_workers()}
