-- Drops a record if it holds the token named.
-- KEYS[1] the record
-- ARGV    token id ('' = any), channel, client
-- returns 0 nothing is there, 1 another token is, 2 done
local record = redis.pcall('GET', KEYS[1]) -- an error if it is no string
if not record then
  return 0
end
if type(record) ~= 'string' then
  record = ''
end
if ARGV[1] ~= '' and record:sub(2, 17) ~= ARGV[1] then
  return record == '' and 0 or 1
end
redis.call('DEL', KEYS[1])
redis.pcall('PUBLISH', ARGV[2], ARGV[3] .. ' ') -- not everybody may publish, and nobody depends on it
return 2
