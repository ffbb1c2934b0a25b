#!lua flags=allow-oom
-- End all sessions of a user on one node, without a grace. Each node does this for its own sessions: a node that learns
-- late of a kick must not free the seat that the user has taken on another node since.
--
-- KEYS  1–4 the partition's (seats.lua)   5 members   6 nodes   7 the node's sessions
-- ARGV  1 room   2 node   3 user
-- RETURNS  { 'held' | 'gone' | 'absent', members, colour }

local room, node, user = ARGV[1], ARGV[2], ARGV[3]

local outcome, color = let_go(room, node, user, 0)
forget_node_without_sessions(room, node)
return { outcome, count(room), color }
