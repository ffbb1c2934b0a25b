#!lua
-- Decide about a seat for one session. All checks come before the first write: scripts do not roll back.
--
-- KEYS  1–4 the partition's (seats.lua)   5 members   6 nodes   7 the node's sessions   8 the ticket, if there is one
-- ARGV  1 room   2 node   3 user   4 colour   5 max members; '': no limit
--       6 sessions of the user on the node, with this one
--       7 lease, ms   8 recovering time, ms   9 '1': the node holds the room already
--       10 with a ticket: this attempt (a retry of it after a lost reply is the same attempt)
--       11 how long a used ticket is kept, ms
-- RETURNS  { 'admitted' | 'room_full' | 'recovering' | 'ticket_used', members, arrived (1 or 0),
--            ms until new users are admitted, the node's lease was lost (1 or 0), { gone, … } as counted(),
--            which server has the partition, and since when }

local room, node, user, color = ARGV[1], ARGV[2], ARGV[3], ARGV[4]
local max_members, sessions, lease_ms = tonumber(ARGV[5]), ARGV[6], tonumber(ARGV[7])
local holds_room, attempt = ARGV[9] == '1', ARGV[10]
local ticket = KEYS[8]
local gone = {}
local recovering_ms, since = recovering_for(tonumber(ARGV[8]))

local function refuse(outcome, retry_ms)
  return { outcome, redis.call('HLEN', KEYS[5]), 0, retry_ms, 0, counted(gone), since }
end

local seated = seat_of(room, user) ~= nil
if recovering_ms > 0 and not seated then return refuse('recovering', recovering_ms) end

if ticket then
  local used_by = redis.call('GET', ticket)
  if used_by and used_by ~= attempt then return refuse('ticket_used', 0) end
end

if max_members and not seated and redis.call('HLEN', KEYS[5]) >= max_members then
  gone = reap(room, node)
  if redis.call('HLEN', KEYS[5]) >= max_members then return refuse('room_full', 0) end
end

if ticket then redis.call('SET', ticket, attempt, 'PX', ARGV[11]) end
local lease_lost = holds_room and not redis.call('ZSCORE', LEASES, room .. '|' .. node)
hold_seat(room, node, user, color, sessions)
renew_lease(room, node, lease_ms)
return { 'admitted', count(room), seated and 0 or 1, 0, lease_lost and 1 or 0, counted(gone), since }
