-- Takes a registration key, or says what became of it. A record is P (pending) or D (done), then 1 or 0 for what was
-- asked, then the owner (pending) or the client, sealed (done).
-- KEYS[1] the registration
-- ARGV    what is asked, owner, hold in ms
-- returns 'ours', 'busy', 'reused', or 'done' and the client, and KEYS[1]: a reply may be another question's
local record = redis.call('GET', KEYS[1])
if record and record:sub(1, 1) == 'P' then
  local left = redis.call('PTTL', KEYS[1])
  if left < 0 or left > tonumber(ARGV[3]) then
    record = nil -- it is no claim, or one that holds longer than any since the clock was set back
  end
end
if not record then
  redis.call('SET', KEYS[1], 'P' .. ARGV[1] .. ARGV[2], 'PX', ARGV[3])
  return {'ours', '', KEYS[1]}
end
if record:sub(2, 2) ~= ARGV[1] then
  return {'reused', '', KEYS[1]}
end
if record:sub(1, 1) == 'D' then
  return {'done', record:sub(3), KEYS[1]}
end
if record:sub(3) == ARGV[2] then
  return {'ours', '', KEYS[1]}
end
return {'busy', '', KEYS[1]}
