-- Puts a new record in its place, unless a newer one is there. Where two mints ran at once, whichever record stays is
-- suspect: Portal may have killed its token for the other's.
-- KEYS[1] the record, KEYS[2] the fence
-- ARGV    record, expiry in Unix ms, fence (0 = minted without a lease), fence seen when the lease was taken, channel,
--         client, token id in hex
-- returns the record that is kept
local function fields(record, tag)
  if type(record) ~= 'string' or #record <= 50 or record:byte(1) ~= 1 or record:sub(18, 25) ~= tag or record:byte(50) > 3 then
    return
  end
  local minted, active, fence = struct.unpack('>I8I8I8', record, 26)
  if minted > 0 and minted <= active and active <= 2 ^ 50 and fence <= 2 ^ 50 then
    return record:sub(2, 17), minted, fence, record:byte(50)
  end
end
local function with(record, fence, flags)
  return record:sub(1, 41) .. struct.pack('>I8', fence) .. string.char(flags) .. record:sub(51)
end
local new, fence, seen = ARGV[1], tonumber(ARGV[3]), tonumber(ARGV[4])
local tag = new:sub(18, 25)
local id, minted, _, flags = fields(new, tag)
local old = redis.pcall('GET', KEYS[1]) -- an error if it is no string
local oldId, oldMinted, oldFence, oldFlags = fields(old, tag) -- nothing if it is no record of this client
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
if atOnce then
  flags, sure = flags % 2 + 2, ''
end
new = with(new, math.max(fence, oldFence or 0), flags)
redis.call('SET', KEYS[1], new, 'PXAT', ARGV[2])
redis.pcall('PUBLISH', ARGV[5], ARGV[6] .. ' ' .. sure)
return new
