-- The part that all scripts on seats share: the loader puts it in front of each script.
--
-- The KEYS of every script begin with the keys of one partition:
--   1 generation   2 leases   3 grace   4 occupancy
-- The names of a room's keys are built here, from the partition's prefix and so in the same slot. A sweep covers all
-- nodes of a room, and only Redis knows which nodes these are.

local GENERATION, LEASES, GRACE, OCCUPANCY = KEYS[1], KEYS[2], KEYS[3], KEYS[4]
local PREFIX = string.sub(GENERATION, 1, -(#'generation' + 1))

local time = redis.call('TIME')
local NOW = time[1] * 1000 + math.floor(time[2] / 1000)

local function members_key(room) return PREFIX .. 'room:' .. room .. ':members' end
local function nodes_key(room) return PREFIX .. 'room:' .. room .. ':nodes' end
local function sessions_key(room, node) return PREFIX .. 'room:' .. room .. ':node:' .. node end

-- Whether no node has called for half a recovery although nodes hold leases. Such nodes were cut off, but are alive.
local function all_were_cut_off(recovering_ms)
  local heard_ms = tonumber(redis.call('GET', PREFIX .. 'heard'))
  if not heard_ms or NOW - heard_ms > recovering_ms / 10 then
    redis.call('SET', PREFIX .. 'heard', string.format('%d', NOW))
  end
  return heard_ms and NOW - heard_ms > recovering_ms / 2 and redis.call('ZCARD', LEASES) > 0
end

-- Return the milliseconds until the partition has recovered, and the value of `keys.server`.
-- A recovery starts in three cases. The marker is missing, because Redis restarted empty. Another server has the
-- partition: a replica or a dump on disk may lack the last admissions. All nodes were cut off: they need time to renew.
local function recovering_for(recovering_ms)
  local until_ms = tonumber(redis.call('GET', GENERATION))
  local since = redis.call('GET', PREFIX .. 'server')
  local server = string.match(redis.call('INFO', 'server'), 'run_id:(%x+)')
  local another = since and string.match(since, '^[^|]+') ~= server
  if all_were_cut_off(recovering_ms) or not until_ms or another then
    until_ms = NOW + recovering_ms
    redis.call('SET', GENERATION, string.format('%d', until_ms))
  end
  if not since or another then
    since = string.format('%s|%d', server, NOW)
    redis.call('SET', PREFIX .. 'server', since)
  end
  return math.max(0, until_ms - NOW), since
end

-- Return how many nodes hold sessions of the user (0: in its grace), and the colour; nil without a seat.
local function seat_of(room, user)
  local seat = redis.call('HGET', members_key(room), user)
  if not seat then return nil, '' end
  local nodes, color = string.match(seat, '^(%d+)|(.*)$')
  return tonumber(nodes), color
end

local function set_seat(room, user, nodes, color)
  redis.call('HSET', members_key(room), user, string.format('%d|%s', nodes, color))
end

local function free_seat(room, user)
  redis.call('HDEL', members_key(room), user)
  redis.call('ZREM', GRACE, room .. '|' .. user)
end

-- Count the room's members, and update the number that the lobby and the janitor read.
local function count(room)
  local members = redis.call('HLEN', members_key(room))
  if members > 0 then
    redis.call('ZADD', OCCUPANCY, members, room)
  else
    redis.call('ZREM', OCCUPANCY, room)
  end
  return members
end

local function renew_lease(room, node, lease_ms)
  redis.call('SADD', nodes_key(room), node)
  redis.call('ZADD', LEASES, NOW + lease_ms, room .. '|' .. node)
end

local function forget_node(room, node)
  redis.call('SREM', nodes_key(room), node)
  redis.call('ZREM', LEASES, room .. '|' .. node)
end

local function forget_node_without_sessions(room, node)
  if redis.call('EXISTS', sessions_key(room, node)) == 0 then forget_node(room, node) end
end

-- Register that a node has sessions of the user. If the user has a seat, count one more node; otherwise take a seat.
-- The caller has checked that a seat is free.
local function hold_seat(room, node, user, color, sessions)
  local nodes = seat_of(room, user)
  local known = redis.call('HEXISTS', sessions_key(room, node), user) == 1
  if not nodes then
    set_seat(room, user, 1, color)
  elseif not known then
    set_seat(room, user, nodes + 1, color)
    redis.call('ZREM', GRACE, room .. '|' .. user)
  end
  redis.call('HSET', sessions_key(room, node), user, sessions)
end

-- Register that a node no longer has a session of the user. Return 'held', 'grace', 'gone' or 'absent', and the colour.
local function let_go(room, node, user, grace_ms)
  local nodes, color = seat_of(room, user)
  local known = redis.call('HDEL', sessions_key(room, node), user) == 1
  if not nodes then return 'absent', '' end
  if not known then return 'held', color end
  if nodes > 1 then
    set_seat(room, user, nodes - 1, color)
    return 'held', color
  end
  if grace_ms > 0 then
    set_seat(room, user, 0, color)
    redis.call('ZADD', GRACE, NOW + grace_ms, room .. '|' .. user)
    return 'grace', color
  end
  free_seat(room, user)
  return 'gone', color
end

-- End all sessions of a node whose lease expired. The lease was the grace: free the seats that no other node holds.
local function reap_node(room, node, gone)
  for _, user in ipairs(redis.call('HKEYS', sessions_key(room, node))) do
    local outcome, color = let_go(room, node, user, 0)
    if outcome == 'gone' then gone[#gone + 1] = { room, user, color } end
  end
  forget_node(room, node)
end

local function reap_seat(room, user, gone)
  local nodes, color = seat_of(room, user)
  redis.call('ZREM', GRACE, room .. '|' .. user)
  if nodes == 0 then
    free_seat(room, user)
    gone[#gone + 1] = { room, user, color }
  end
end

local function split(entry)
  return string.match(entry, '^([^|]+)|(.+)$')
end

local function reap_leases(only_room, calling_node, gone)
  for _, entry in ipairs(redis.call('ZRANGEBYSCORE', LEASES, '-inf', NOW)) do
    local room, node = split(entry)
    if (not only_room or room == only_room) and node ~= calling_node then reap_node(room, node, gone) end
  end
end

local function reap_graces(only_room, gone)
  for _, entry in ipairs(redis.call('ZRANGEBYSCORE', GRACE, '-inf', NOW)) do
    local room, user = split(entry)
    if not only_room or room == only_room then reap_seat(room, user, gone) end
  end
end

-- Reap expired leases and graces in a room, except the lease of `calling_node`, which is alive.
local function reap(room, calling_node)
  local gone = {}
  reap_leases(room, calling_node, gone)
  reap_graces(room, gone)
  return gone
end

-- Return { room, user, colour, members of the room now } for each departure.
local function counted(gone)
  local members = {}
  for _, one in ipairs(gone) do
    local room = one[1]
    members[room] = members[room] or count(room)
    one[4] = members[room]
  end
  return gone
end
