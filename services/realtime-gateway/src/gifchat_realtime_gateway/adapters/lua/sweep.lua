#!lua flags=allow-oom
-- Reap the leases and graces of one partition that ran out. Who is gone is in the reply of one call only.
--
-- No leases while it recovers: whose nodes they are may just not have come back to Redis yet.
--
-- KEYS  1–4 the partition's (seats.lua)
-- ARGV  1 recovering time, ms
-- RETURNS  { { room, user, colour, members }, … }

local gone = {}
if recovering_for(tonumber(ARGV[1])) == 0 then reap_leases(nil, nil, gone) end
reap_graces(nil, gone)
return counted(gone)
