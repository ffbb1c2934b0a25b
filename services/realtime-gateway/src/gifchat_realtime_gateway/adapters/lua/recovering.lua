#!lua flags=allow-oom
-- Return whether the partition is recovering. A partition without a marker starts to recover.
--
-- KEYS  1–4 the partition's (seats.lua)
-- ARGV  1 recovering time, ms
-- RETURNS  ms until new users are admitted; 0: settled

return recovering_for(tonumber(ARGV[1]))
