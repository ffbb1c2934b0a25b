#!lua flags=allow-oom
-- Reap the expired leases and graces of one partition. Each departure is in the reply of one call only.
--
-- While the partition recovers, leases are kept: their nodes may not have reached Redis again yet.
--
-- KEYS  1–4 the partition's (seats.lua)
-- ARGV  1 recovering time, ms
-- RETURNS  { { room, user, colour, members }, … }

local gone = {}
if recovering_for(tonumber(ARGV[1])) == 0 then reap_leases(nil, nil, gone) end
reap_graces(nil, gone)
return counted(gone)
