-- Drops a record if it holds the token named.
-- KEYS[1] the record
-- ARGV    token id ('' = any)
-- returns 0 nothing is there, 1 another token is, 2 done
local id = redis.call('GETRANGE', KEYS[1], 1, 16)
if id == '' then
  return 0
end
if ARGV[1] ~= '' and id ~= ARGV[1] then
  return 1
end
redis.call('DEL', KEYS[1])
return 2
