#!lua flags=allow-oom
-- Renew a node's leases in one partition. Allowed while Redis is full: only scores of existing entries change.
--
-- An expired lease that was not swept is renewed too, because all its seats are still counted.
--
-- KEYS  1–4 the partition's (seats.lua)
-- ARGV  1 node   2 lease, ms   3 recovering time, ms   4… rooms
-- RETURNS  { which server has the partition and since when, rooms without a lease of the node … }

local node, lease_ms = ARGV[1], tonumber(ARGV[2])
local _, since = recovering_for(tonumber(ARGV[3]))
local reply = { since }

for i = 4, #ARGV do
  local entry = ARGV[i] .. '|' .. node
  if redis.call('ZSCORE', LEASES, entry) then
    redis.call('ZADD', LEASES, 'XX', NOW + lease_ms, entry)
  else
    reply[#reply + 1] = ARGV[i]
  end
end
return reply
