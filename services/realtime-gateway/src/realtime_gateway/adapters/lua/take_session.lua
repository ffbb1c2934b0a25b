#!lua flags=allow-oom
-- Take a saved session: only one caller gets it, and only its own user; a guest's goes to any guest that knows the id.
--
-- KEYS  1 the saved session, a hash
-- ARGV  1 user   2 1: a guest
-- RETURNS  its content; nil if there is none for this user

local saved = redis.call('HMGET', KEYS[1], 'user', 'guest', 'content')
if not saved[3] or (saved[1] ~= ARGV[1] and not (saved[2] == '1' and ARGV[2] == '1')) then
  return nil
end
redis.call('DEL', KEYS[1])
return saved[3]
