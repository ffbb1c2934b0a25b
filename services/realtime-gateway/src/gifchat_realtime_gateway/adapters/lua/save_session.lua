#!lua flags=allow-oom
-- Save a session under its private id, unless another session has taken over that id. Allowed while Redis is full: a
-- saved session is small, expires, and usually replaces an earlier version.
--
-- KEYS  1 the saved session, a hash
-- ARGV  1 Socket.IO sid   2 '1': this session takes over the id   3 user   4 '1': the user is a guest
--       5 content   6 time to live, ms; '0': delete it
-- RETURNS  1 if it was saved or deleted, 0 if the id belongs to another session

local owner = redis.call('HGET', KEYS[1], 'sid')
if ARGV[2] ~= '1' and owner and owner ~= ARGV[1] then
  return 0
end
if ARGV[6] == '0' then
  redis.call('DEL', KEYS[1])
else
  redis.call('HSET', KEYS[1], 'sid', ARGV[1], 'user', ARGV[3], 'guest', ARGV[4], 'content', ARGV[5])
  redis.call('PEXPIRE', KEYS[1], ARGV[6])
end
return 1
