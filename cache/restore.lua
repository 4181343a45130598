-- Puts a record back that is not there any more: Redis lost it. One that was forgotten left a mark.
-- KEYS[1] the record
-- ARGV    record, expiry in Unix ms
-- returns what is there then
local there = redis.pcall('GET', KEYS[1]) -- an error if it is no string
if there then
  return there
end
redis.call('SET', KEYS[1], ARGV[1], 'PXAT', ARGV[2])
return ARGV[1]
