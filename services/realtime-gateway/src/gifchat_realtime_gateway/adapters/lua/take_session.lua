#!lua flags=allow-oom
-- Take and delete a saved session, so only one caller gets it. A user's session goes only to the same user. A
-- guest's session goes to any guest that knows the private id.
--
-- KEYS  1 the saved session, a hash
-- ARGV  1 user   2 '1': the user is a guest
-- RETURNS  the content; nil if this user has no such session

local saved = redis.call('HMGET', KEYS[1], 'user', 'guest', 'content')
if not saved[3] or (saved[1] ~= ARGV[1] and not (saved[2] == '1' and ARGV[2] == '1')) then
  return nil
end
redis.call('DEL', KEYS[1])
return saved[3]
