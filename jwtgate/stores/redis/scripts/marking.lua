-- Shared by the scripts of marks: the loader puts it after the prelude.
--
-- A group's marks are a hash, name in hex -> "<until> <value>", and a sorted set of names by end. Without TTL: evicting
-- policies take keys with one first. Either could still be lost alone, so the hash says since when it is whole.
-- Both are named by the call: a node that has given one of them away while their slot moves must not begin anew.

local KEPT, ENDS = KEYS[5], KEYS[6]
