-- Shared by the scripts of marks: the loader puts it after the prelude.
--
-- A group's marks are a hash, name in hex -> "<until> <value>", and a sorted set of names by end. Without TTL: evicting
-- policies take keys with one first. Either could still be lost alone, so the hash says since when it is whole. The names of these keys follow from the first key: all stand on its slot.

local BASE = string.sub(RULINGS, 1, -#'rulings' - 1)

local function mark_keys(group) return BASE .. 'm:' .. group, BASE .. 'e:' .. group end
