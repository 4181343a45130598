-- Drops a record if it holds the token named. A mark takes its place, for as long as anybody may remember the token: it is
-- not lost, and nobody is to put it back.
-- KEYS[1] the record
-- ARGV    token id ('' = any), channel, client as a message names it, the mark, how long it is kept in ms
-- returns 0 nothing is there, 1 another token is, 2 done
local record = redis.pcall('GET', KEYS[1]) -- an error if it is no string
if record and record ~= ARGV[4] then
  local id = type(record) == 'string' and record:sub(2, 17) or ''
  if ARGV[1] ~= '' and id ~= ARGV[1] then
    return id == '' and 0 or 1
  end
end
redis.call('SET', KEYS[1], ARGV[4], 'PX', ARGV[5])
if not record or record == ARGV[4] then
  return 0
end
redis.pcall('PUBLISH', ARGV[2], ARGV[3] .. ' ') -- not everybody may publish, and nobody depends on it
return 2
