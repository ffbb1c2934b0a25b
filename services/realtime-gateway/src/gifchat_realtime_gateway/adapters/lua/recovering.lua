#!lua flags=allow-oom
-- Whether the partition recovers; a partition without a marker begins to.
--
-- KEYS  1–4 the partition's (seats.lua)
-- ARGV  1 recovering time, ms
-- RETURNS  ms until new users are admitted; 0: settled

return recovering_for(tonumber(ARGV[1]))
