#!lua flags=allow-oom
-- Renew a node's lease on its address, and list the nodes. Allowed while Redis is full: the entries are small and few.
--
-- KEYS  1 leases, a sorted set (tag → expiry, ms of Redis time)   2 addresses, a hash (tag → host:port)
-- ARGV  1 tag (empty: only list)   2 address   3 lease, ms   4 how long a node is listed after its lease expires, ms
-- RETURNS  { tag, address, ms left of its lease (negative: expired), … }

local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)

if ARGV[1] ~= '' then
  redis.call('ZADD', KEYS[1], now + tonumber(ARGV[3]), ARGV[1])
  redis.call('HSET', KEYS[2], ARGV[1], ARGV[2])
end

for _, tag in ipairs(redis.call('ZRANGEBYSCORE', KEYS[1], '-inf', now - tonumber(ARGV[4]))) do
  redis.call('ZREM', KEYS[1], tag)
  redis.call('HDEL', KEYS[2], tag)
end

local reply = {}
local leases = redis.call('ZRANGE', KEYS[1], 0, -1, 'WITHSCORES')
for i = 1, #leases, 2 do
  local address = redis.call('HGET', KEYS[2], leases[i])
  if address then
    reply[#reply + 1] = leases[i]
    reply[#reply + 1] = address
    reply[#reply + 1] = math.floor(tonumber(leases[i + 1]) - now)
  end
end
return reply
