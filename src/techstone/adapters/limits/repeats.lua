-- What gateways tell each other of one Idempotency-Key (core/repeats.py, docs/decisions/0024).
--
-- KEYS  1 the key, with its account's hash tag.
-- ARGV  1 operation, 2 the gateway, 3 the value, 4 for how many seconds.
--
-- A value begins with its kind ('c' is a claim) and the 32 bytes of the body's digest; of a claim the gateway follows.
-- Replies 1, or to `claim` the value that stands against it.

local call, sub = redis.call, string.sub
local op, gateway, value, seconds = ARGV[1], ARGV[2], ARGV[3], ARGV[4]
local kept = call('GET', KEYS[1])
local claimed = kept and sub(kept, 1, 1) == 'c'
-- A gateway asks for a key only if it does not answer it now: a claim of its own is of a life that is over.
local mine = claimed and sub(kept, 34) == gateway
if op == 'claim' then
  if kept and not mine then return kept end
  call('SET', KEYS[1], value, 'EX', seconds)
elseif op == 'renew' then
  if not kept or mine then call('SET', KEYS[1], value, 'EX', seconds) end
elseif op == 'keep' then
  -- The first answer stays.
  if not kept or claimed then call('SET', KEYS[1], value, 'EX', seconds) end
elseif mine then
  call('DEL', KEYS[1])
end
return 1
