#!lua
-- Register again the sessions that a node holds in a room. Sessions that are still registered stay.
--
-- Without a limit: Redis restarted empty, and the seats were granted before. With a limit: the node was late, and other
-- users may have its seats now, so it takes only free seats. While the partition recovers, a late node waits almost to
-- the end, because other nodes may not have restored their seats yet. New users are admitted after that.
--
-- KEYS  1–4 the partition's (seats.lua)   5 members   6 nodes   7 the node's sessions
-- ARGV  1 room   2 node   3 lease, ms   4 recovering time, ms   5 how much of its end is for late nodes, ms
--       6 max members, or '' for no limit   7 the room's owner, who needs no free seat
--       8… user, colour, sessions; user, colour, sessions; …
-- RETURNS  { 'restored' | 'recovering', members, { refused user, … }, { gone, … } as counted(),
--            { registered user of the node that ARGV does not name, … },
--            with 'recovering': ms until a late node may ask }

local room, node, max_members, owner = ARGV[1], ARGV[2], tonumber(ARGV[6]), ARGV[7]
local gone = {}

local rest_ms = recovering_for(tonumber(ARGV[4])) - tonumber(ARGV[5])
if max_members then
  if rest_ms > 0 then return { 'recovering', redis.call('HLEN', KEYS[5]), {}, {}, {}, rest_ms } end
  gone = reap(room, node)
end

local refused, named = {}, {}
for i = 8, #ARGV, 3 do
  local user, color, sessions = ARGV[i], ARGV[i + 1], ARGV[i + 2]
  named[user] = true
  local needs_free_seat = max_members and user ~= owner and not seat_of(room, user)
  if needs_free_seat and redis.call('HLEN', KEYS[5]) >= max_members then
    refused[#refused + 1] = user
  else
    hold_seat(room, node, user, color, sessions)
  end
end
if redis.call('EXISTS', KEYS[7]) == 1 then renew_lease(room, node, tonumber(ARGV[3])) end

local strangers = {}
for _, user in ipairs(redis.call('HKEYS', KEYS[7])) do
  if not named[user] then strangers[#strangers + 1] = user end
end
return { 'restored', count(room), refused, counted(gone), strangers, 0 }
