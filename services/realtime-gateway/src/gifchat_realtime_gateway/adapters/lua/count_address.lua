#!lua
-- Record how many seats a node holds for an address, and count the seats that all nodes hold for it.
--
-- KEYS  1 the address, a hash (node → '<seats>|<expiry, ms of Redis time>')
-- ARGV  1 node   2 its seats   3 how long the record counts, ms
-- RETURNS  seats of all nodes

local node, total, kept_ms = ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[3])
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)

local records = redis.call('HGETALL', KEYS[1])
for i = 1, #records, 2 do
  local seats, expiry = string.match(records[i + 1], '^(%d+)|(%d+)$')
  if tonumber(expiry) <= now then
    redis.call('HDEL', KEYS[1], records[i])
  elseif records[i] ~= node then
    total = total + tonumber(seats)
  end
end
redis.call('HSET', KEYS[1], node, string.format('%d|%d', tonumber(ARGV[2]), now + kept_ms))
redis.call('PEXPIRE', KEYS[1], kept_ms + 1000)
return total
