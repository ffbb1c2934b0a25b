#!lua flags=allow-oom
-- Start the grace of a node's seats in a room, because the node stops.
--
-- KEYS  1–4 the partition's (seats.lua)   5 members   6 nodes   7 the node's sessions
-- ARGV  1 room   2 node   3 grace, ms
-- RETURNS  members

local room, node = ARGV[1], ARGV[2]

for _, user in ipairs(redis.call('HKEYS', KEYS[7])) do
  let_go(room, node, user, tonumber(ARGV[3]))
end
forget_node(room, node)
return count(room)
