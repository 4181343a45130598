-- Seals a record anew: puts another sealed part in the place of one, if that is still there. Nothing else changes.
-- KEYS[1] the record
-- ARGV    the sealed part that was read, the one to be there
-- returns 1 done, 0 it has changed
local record = redis.pcall('GET', KEYS[1]) -- an error if it is no string
if type(record) == 'string' and record:sub(59) == ARGV[1] then
  redis.call('SET', KEYS[1], record:sub(1, 58) .. ARGV[2], 'KEEPTTL')
  return 1
end
return 0
