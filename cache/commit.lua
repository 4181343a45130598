-- Puts a new record in its place, unless a newer one is there. Where two mints ran at once, whichever record stays is
-- suspect: Portal may have killed its token for the other's. A record outlasts its token, to tell why the next is minted; one
-- whose token has ended counts for nothing else.
-- KEYS[1] the record, KEYS[2] the fence
-- ARGV    record, idle ttl in ms, fence (0 = minted without a lease), fence seen when the lease was taken, channel,
--         client as a message names it, token id in hex, what time it is for who dated the record in Unix ms, refresh window in
--         ms, how long to remember the fence in ms
-- returns the record that is kept
local function fields(record, tag)
  if type(record) ~= 'string' or #record <= 58 or record:byte(1) ~= 3 or record:sub(18, 25) ~= tag or record:byte(58) > 3 then
    return
  end
  local minted, active, fence, doubt = struct.unpack('>I8I8I8I8', record, 26)
  if minted > 0 and minted <= active and active <= 2 ^ 50 and fence <= 2 ^ 50 and doubt <= 2 ^ 50 then
    return record:sub(2, 17), minted, active, fence, doubt, record:byte(58)
  end
end
local function dated(record, minted, active, doubt)
  return record:sub(1, 25) .. struct.pack('>I8I8', minted, active) .. record:sub(42, 49) .. struct.pack('>I8', doubt) .. record:sub(58)
end
local function with(record, fence, flags)
  return record:sub(1, 41) .. struct.pack('>I8', fence) .. record:sub(50, 57) .. string.char(flags) .. record:sub(59)
end
-- Where the clock that the dates came from is ahead of this one, the token would look younger than it is.
local time = redis.call('TIME')
local ahead = tonumber(ARGV[8]) - tonumber(time[1]) * 1000 - math.floor(tonumber(time[2]) / 1000)
ahead = ahead < 1000 and 0 or ahead
local new, fence, seen = ARGV[1], tonumber(ARGV[3]), tonumber(ARGV[4])
local tag = new:sub(18, 25)
if fence == 0 then -- whoever mints under a lease at the same time is to know, also if Redis lost the fence meanwhile
  local began = tonumber(time[1]) * 100000 + math.floor(tonumber(time[2]) / 10)
  redis.call('SET', KEYS[2], string.format('%.0f', began), 'PX', ARGV[10], 'NX')
  redis.call('INCR', KEYS[2])
end
local id, minted, active, _, doubt, flags = fields(new, tag)
local old = redis.pcall('GET', KEYS[1]) -- an error if it is no string
local oldId, oldMinted, oldActive, oldFence, oldDoubt, oldFlags = fields(old, tag) -- nothing if it is no record of this client
local function ends(minted, active)
  return math.min(active + tonumber(ARGV[2]), minted + tonumber(ARGV[9]))
end
if oldId and ends(oldMinted, oldActive) <= tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000) then
  oldId, oldFence = nil, nil
end
minted, active, doubt = minted - ahead, active - ahead, math.max(doubt - ahead, 0)
if oldId and oldId ~= id and (fence > 0 and oldFence > fence or fence == 0 and oldMinted > minted) then
  old = with(old, oldFence, oldFlags % 2 + 2)
  redis.call('SET', KEYS[1], old, 'KEEPTTL')
  redis.pcall('PUBLISH', ARGV[5], ARGV[6] .. ' ') -- not everybody may publish, and nobody depends on it
  return old
end
local atOnce = fence > 0 and tonumber(redis.call('GET', KEYS[2]) or '0') > fence
if oldId and oldId ~= id then
  atOnce = atOnce or fence == 0 or oldFence ~= seen
end
local sure = ARGV[7]
if oldId == id then -- it is committed again: what became known of it since stays known
  active, doubt = math.max(active, oldActive), math.max(doubt, oldDoubt)
  atOnce = atOnce or oldFlags >= 2
end
if atOnce then
  flags, sure = flags % 2 + 2, ''
end
new = with(dated(new, minted, active, doubt), math.max(fence, oldFence or 0), flags)
redis.call('SET', KEYS[1], new, 'PXAT', string.format('%.0f', ends(minted, active) + tonumber(ARGV[2])))
redis.pcall('PUBLISH', ARGV[5], ARGV[6] .. ' ' .. sure)
return new
