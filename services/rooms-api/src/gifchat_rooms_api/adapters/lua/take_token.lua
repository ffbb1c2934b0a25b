#!lua
-- Take tokens from a token bucket, by Redis's own clock.
--
-- KEYS     1 the bucket: a hash of `tokens` (may be a fraction) and `at` (ms)
-- ARGV     1 burst: tokens in a full bucket   2 refill: ms per new token   3 how many to take, at most the burst
-- RETURNS  0 if they were taken, otherwise the ms until there are enough

local burst, refill_ms, wanted = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3])
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)

local bucket = redis.call('HMGET', KEYS[1], 'tokens', 'at')
local tokens, at = tonumber(bucket[1]) or burst, tonumber(bucket[2]) or now
tokens = math.min(burst, tokens + math.max(0, now - at) / refill_ms)

local wait_ms = 0
if tokens >= wanted then
  tokens = tokens - wanted
else
  wait_ms = math.max(1, math.ceil((wanted - tokens) * refill_ms))
end
redis.call('HSET', KEYS[1], 'tokens', string.format('%.6f', tokens), 'at', string.format('%d', now))
redis.call('PEXPIRE', KEYS[1], math.ceil((burst - tokens) * refill_ms) + 1000)
return wait_ms
