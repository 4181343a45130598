-- Puts a record back that is not there any more, or whose token there has ended: Redis lost it. One that was forgotten left a
-- mark.
-- KEYS[1] the record
-- ARGV    record, expiry in Unix ms, idle ttl in ms, refresh window in ms
-- returns what is there then
local there = redis.pcall('GET', KEYS[1]) -- an error if it is no string
local ended = false
if type(there) == 'string' and #there > 58 and there:byte(1) == 3 then
  local time = redis.call('TIME')
  local minted, active = struct.unpack('>I8I8', there, 26)
  ended = math.min(active + tonumber(ARGV[3]), minted + tonumber(ARGV[4])) <= tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)
end
if there and not ended then
  return there
end
redis.call('SET', KEYS[1], ARGV[1], 'PXAT', ARGV[2])
return ARGV[1]
