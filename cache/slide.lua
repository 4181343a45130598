-- Moves a record's active date forward, never back, and its expiry with it.
-- KEYS[1] the record
-- ARGV    token id ('' = any), date in Unix ms, idle ttl in ms, refresh window in ms, '1' if it clears a suspicion, until when
--         the token is in doubt in Unix ms (0 = as before), what time it is for the caller in Unix ms, channel,
--         client as a message names it, '1' if an active date after this one is ahead of the clock: then both dates move back by as much
-- returns 0 nothing is there, or what has ended, 1 another token is, 2 done (or there was nothing to change)
local record = redis.pcall('GET', KEYS[1]) -- an error if it is no string
if type(record) ~= 'string' or #record < 59 or record:byte(1) ~= 3 then
  return 0
end
local time = redis.call('TIME')
local now = tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)
local minted, active, _, doubt = struct.unpack('>I8I8I8I8', record, 26)
if doubt > 2 ^ 50 or math.min(active + tonumber(ARGV[3]), minted + tonumber(ARGV[4])) <= now then
  return 0 -- it is torn, or its token has ended: nothing brings that back
end
if ARGV[1] ~= '' and record:sub(2, 17) ~= ARGV[1] then
  return 1
end
-- A date by a clock that is ahead of this one would make the token look younger than it is.
local ahead = tonumber(ARGV[7]) - now
ahead = ahead < 1000 and 0 or ahead
local sent, flags, until_ = tonumber(ARGV[2]) - ahead, record:byte(58), tonumber(ARGV[6])
local corrected = ARGV[10] == '1' and active > sent
if corrected then
  minted, active = minted - (active - sent), sent
end
local at = math.max(sent, active)
local cleared = flags
if ARGV[5] == '1' then
  cleared = flags % 2
end
until_ = until_ == 0 and doubt or until_ - ahead
if corrected or at > active or cleared ~= flags or until_ ~= doubt then
  local expires = math.min(at + tonumber(ARGV[3]), minted + tonumber(ARGV[4])) + tonumber(ARGV[3]) -- it outlasts its token: see commit.lua
  local moved = record:sub(1, 25) .. struct.pack('>I8I8', minted, at) .. record:sub(42, 49) .. struct.pack('>I8', until_) .. string.char(cleared) .. record:sub(59)
  redis.call('SET', KEYS[1], moved, 'PXAT', string.format('%.0f', expires))
end
if until_ > doubt then
  redis.pcall('PUBLISH', ARGV[8], ARGV[9] .. ' ') -- not everybody may publish, and nobody depends on it
end
return 2
