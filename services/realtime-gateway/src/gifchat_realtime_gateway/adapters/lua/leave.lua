#!lua flags=allow-oom
-- End one session of a user on a node. Allowed while Redis is full, because it frees memory.
--
-- KEYS  1–4 the partition's (seats.lua)   5 members   6 nodes   7 the node's sessions
-- ARGV  1 room   2 node   3 user   4 sessions of the user that the node has left   5 grace, ms
-- RETURNS  { 'held' | 'grace' | 'gone' | 'absent', members, colour }

local room, node, user, sessions = ARGV[1], ARGV[2], ARGV[3], tonumber(ARGV[4])
local outcome, color

if sessions > 0 then
  local nodes
  nodes, color = seat_of(room, user)
  outcome = nodes and 'held' or 'absent'
  if redis.call('HEXISTS', KEYS[7], user) == 1 then redis.call('HSET', KEYS[7], user, sessions) end
else
  outcome, color = let_go(room, node, user, tonumber(ARGV[5]))
  forget_node_without_sessions(room, node)
end
return { outcome, count(room), color }
