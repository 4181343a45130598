-- Moves a record's active date forward, never back, and its expiry with it.
-- KEYS[1] the record
-- ARGV    token id ('' = any), date in Unix ms, idle ttl in ms, refresh window in ms, '1' if it clears a suspicion
-- returns 0 nothing is there, 1 another token is, 2 done (or there was nothing to change)
local record = redis.pcall('GET', KEYS[1]) -- an error if it is no string
if type(record) ~= 'string' or #record < 51 or record:byte(1) ~= 1 then
  return 0
end
if ARGV[1] ~= '' and record:sub(2, 17) ~= ARGV[1] then
  return 1
end
local minted, active = struct.unpack('>I8I8', record, 26)
local at, flags = math.max(tonumber(ARGV[2]), active), record:byte(50)
local cleared = flags
if ARGV[5] == '1' then
  cleared = flags % 2
end
if at > active or cleared ~= flags then
  local expires = math.min(at + tonumber(ARGV[3]), minted + tonumber(ARGV[4]))
  local moved = record:sub(1, 33) .. struct.pack('>I8', at) .. record:sub(42, 49) .. string.char(cleared) .. record:sub(51)
  redis.call('SET', KEYS[1], moved, 'PXAT', string.format('%.0f', expires))
end
return 2
