#!lua flags=allow-oom
-- Free a user's seat at once, whatever nodes hold it.
--
-- The lease of another node stays, even with no session left: losing it would tell that node to restore what it holds.
--
-- KEYS  1–4 the partition's (seats.lua)   5 members   6 nodes   7 the asking node's sessions
-- ARGV  1 room   2 node   3 user
-- RETURNS  { 'gone' | 'absent', members, colour }

local room, user = ARGV[1], ARGV[3]

local nodes, color = seat_of(room, user)
for _, node in ipairs(redis.call('SMEMBERS', KEYS[6])) do
  redis.call('HDEL', sessions_key(room, node), user)
end
forget_node_without_sessions(room, ARGV[2])
free_seat(room, user)
return { nodes and 'gone' or 'absent', count(room), color }
