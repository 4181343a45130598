-- Moves a record's active date forward, never back, and its expiry with it.
-- KEYS[1] the record
-- ARGV    token id ('' = any), date in Unix ms, idle ttl in ms, refresh window in ms
-- returns 0 nothing is there, 1 another token is, 2 done (or it was no move forward)
local record = redis.call('GET', KEYS[1])
if not record then
  return 0
end
if #record < 43 or record:byte(1) ~= 1 or (ARGV[1] ~= '' and record:sub(2, 17) ~= ARGV[1]) then
  return 1
end
local minted, active = struct.unpack('>I8I8', record, 26)
local at = tonumber(ARGV[2])
if at > active then
  local expires = math.min(at + tonumber(ARGV[3]), minted + tonumber(ARGV[4]))
  local moved = record:sub(1, 33) .. struct.pack('>I8', at) .. record:sub(42)
  redis.call('SET', KEYS[1], moved, 'PXAT', string.format('%.0f', expires))
end
return 2
