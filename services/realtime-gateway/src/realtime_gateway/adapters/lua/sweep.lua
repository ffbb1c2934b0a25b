#!lua flags=allow-oom
-- Reap the leases and graces of one partition that ran out. Who is gone is in the reply of one call only.
--
-- KEYS  1–4 the partition's (seats.lua)
-- ARGV  1 recovering time, ms
-- RETURNS  { { room, user, colour, members }, … }

recovering_for(tonumber(ARGV[1]))
return counted(reap())
