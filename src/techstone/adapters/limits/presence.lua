-- Which gateways there are, and whether what Redis has of money is of this very life of it (docs/decisions/0017).
--
-- KEYS  1 the generation, 2 until when each gateway is there, 3 for which generation each has said its part, 4 how far
--       each has told its journal.
-- ARGV  1 `look`; `anew`: the same, in a generation that begins now; `leave`: this gateway ends; 2 who tells this, 3
--       Redis's run id as this gateway knows it, 4 a generation to begin where there is none of that run, 5 the one that
--       the gateway has said its part for, 6 the one that it knows, 7 how far it has told its journal in that, 8 the
--       seconds that its presence lasts, 9 for how many it is remembered then.
-- Replies generation, its age, how far this gateway has told its journal ('' if it has not yet); then of each gateway its
--       name, the generation that it has said its part for, and whether it is `here`, `gone` or has `left`.

local call = redis.call
local t = call('TIME')
local now = t[1] + t[2] / 1000000
local op, who, known, lasts, remembered = ARGV[1], ARGV[2], ARGV[6], ARGV[8], ARGV[9]
if op == 'leave' then
  -- Less than nothing: the time of its leave.
  call('ZADD', KEYS[2], -now, who)
  return {}
end
local run = ARGV[3] .. '.'
local found = call('HMGET', KEYS[1], 'id', 'born')
if op == 'anew' or not found[1] or string.sub(found[1], 1, #run) ~= run then
  found = { ARGV[4], string.format('%.6f', now) }
  call('HSET', KEYS[1], 'id', found[1], 'born', found[2])
  call('DEL', KEYS[2], KEYS[3], KEYS[4])
end
-- Redis's clock was set back: nobody waits until it is then again.
if tonumber(found[2]) > now then
  found[2] = string.format('%.6f', now)
  call('HSET', KEYS[1], 'born', found[2])
end
local latest = string.format('%.6f', now + lasts)
for _, gateway in ipairs(call('ZRANGEBYSCORE', KEYS[2], '(' .. latest, '+inf')) do
  call('ZADD', KEYS[2], latest, gateway)
end
-- Who is gone for so long, or has left so long ago.
local long_ago = string.format('%.6f', now - remembered)
call('ZREMRANGEBYSCORE', KEYS[2], '-' .. long_ago, long_ago)
call('ZADD', KEYS[2], now + lasts, who)
call('HSET', KEYS[3], who, ARGV[5])
if known == found[1] then call('HSET', KEYS[4], who, ARGV[7]) end
local reply = { found[1], string.format('%.6f', now - found[2]), call('HGET', KEYS[4], who) or '' }
local all = call('ZRANGE', KEYS[2], 0, -1, 'WITHSCORES')
for place = 1, #all, 2 do
  local until_when = tonumber(all[place + 1])
  reply[#reply + 1] = all[place]
  reply[#reply + 1] = call('HGET', KEYS[3], all[place]) or ''
  reply[#reply + 1] = until_when < 0 and 'left' or until_when > now and 'here' or 'gone'
end
return reply
