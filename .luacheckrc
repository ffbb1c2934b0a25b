-- Scripts run inside Redis, which gives them these names and Lua 5.1.
std = "lua51"
max_line_length = 120
read_globals = { "redis", "KEYS", "ARGV", "cjson" }

-- The loader puts seats.lua in front of the scripts on seats, so they may use its local names.
local folder = "services/realtime-gateway/src/gifchat_realtime_gateway/adapters/lua/"
local scripts = { "admit", "leave", "recovering", "release", "remove", "renew", "restore", "sweep" }
local names = { "GENERATION", "LEASES", "GRACE", "OCCUPANCY", "PREFIX", "NOW" }
for line in io.lines(folder .. "seats.lua") do
  names[#names + 1] = line:match("^local function ([%w_]+)")
end
for _, script in ipairs(scripts) do
  files[folder .. script .. ".lua"] = { read_globals = names }
end
files[folder .. "seats.lua"] = { ignore = { "211" } }
