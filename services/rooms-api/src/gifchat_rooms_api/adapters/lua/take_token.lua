#!lua
-- Take one token of a bucket that fills itself, on Redis's own time.
--
-- KEYS     1 the bucket: a hash of `tokens` (a fraction is kept) and `at` (ms)
-- ARGV     1 burst: tokens of a full bucket   2 every: ms until one token more
-- RETURNS  0: taken   or the ms until there is a token, none taken

local burst, every_ms = tonumber(ARGV[1]), tonumber(ARGV[2])
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)

local bucket = redis.call('HMGET', KEYS[1], 'tokens', 'at')
local tokens, at = tonumber(bucket[1]) or burst, tonumber(bucket[2]) or now
tokens = math.min(burst, tokens + math.max(0, now - at) / every_ms)

local wait_ms = 0
if tokens >= 1 then
  tokens = tokens - 1
else
  wait_ms = math.max(1, math.ceil((1 - tokens) * every_ms))
end
redis.call('HSET', KEYS[1], 'tokens', string.format('%.6f', tokens), 'at', string.format('%d', now))
redis.call('PEXPIRE', KEYS[1], math.ceil((burst - tokens) * every_ms) + 1000)
return wait_ms
