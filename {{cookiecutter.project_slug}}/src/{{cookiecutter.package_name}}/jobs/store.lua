-- Every change of a job, as an atomic command.
--
-- KEYS[1] is the prefix of all keys, ARGV[1] the command, and the rest are its arguments.
-- Each job is a hash, job:<id>. Each queue has sorted sets of ids: waiting:<line> by arrival (a line
-- is a queue and a priority), due:<queue> by the time of the retry, running:<queue> by the time at
-- which they are given up without a heartbeat of their worker, and dead:<queue>.
--
-- A waiting job has a message in dramatiq's list for its line. This script adds it, as dramatiq's
-- `enqueue` would, because the state and the message have to change together.

local prefix, command = KEYS[1], ARGV[1]
local clock = redis.call("TIME")
local now = tonumber(clock[1]) + tonumber(clock[2]) / 1000000
local given = {}
for number = 2, #ARGV do
    given[number - 1] = ARGV[number]
end

local function hash(id)
    return prefix .. "job:" .. id
end

local function get(id, name)
    return redis.call("HGET", hash(id), name)
end

local function number(id, name)
    return tonumber(get(id, name) or "0")
end

local function change(id, ...)
    redis.call("HSET", hash(id), ...)
    redis.call("HINCRBY", hash(id), "version", 1)
end

local function moment()
    return string.format("%.3f", now)
end

local function count(id, what)
    redis.call("HINCRBY", prefix .. "counts", get(id, "queue") .. " " .. what, 1)
end

local function of_queue(id, what)
    return prefix .. what .. ":" .. get(id, "queue")
end

local function line_of(id)
    return get(id, "queue") .. "." .. get(id, "priority")
end

local function leave(id)
    redis.call("ZREM", prefix .. "waiting:" .. line_of(id), id)
    redis.call("ZREM", of_queue(id, "due"), id)
    redis.call("ZREM", of_queue(id, "running"), id)
    redis.call("ZREM", of_queue(id, "dead"), id)
end

-- Queue a job in its line; each message needs an id of its own in dramatiq.
local function send(id, push)
    leave(id)
    change(id, "state", "queued", "token", "", "due", "")
    local message = id .. ":" .. redis.call("HINCRBY", hash(id), "sends", 1)
    local list = "dramatiq:" .. line_of(id)
    redis.call("HSET", list .. ".msgs", message, cjson.encode({
        queue_name = get(id, "queue"),
        actor_name = "job",
        args = { id },
        kwargs = cjson.decode("{}"),
        options = { redis_message_id = message },
        message_id = message,
        message_timestamp = math.floor(now * 1000),
    }))
    redis.call(push, list, message)
    redis.call("ZADD", prefix .. "waiting:" .. line_of(id), now, id)
end

local function settle(id, state, seconds, ...)
    leave(id)
    change(id, "state", state, "finished", moment(), "due", "", ...)
    count(id, state)
    if state == "dead" then
        redis.call("ZADD", of_queue(id, "dead"), now, id)
    end
    redis.call("EXPIRE", hash(id), seconds)
    redis.call("EXPIRE", prefix .. "key:" .. get(id, "kind") .. ":" .. get(id, "key"), seconds)
end

-- End a job if it was cancelled -> whether it was
local function cancelled(id, seconds)
    if get(id, "cancel") ~= "1" then
        return false
    end
    settle(id, "cancelled", seconds)
    return true
end

-- Whether an attempt still holds a job.
local function holds(id, token)
    return get(id, "state") == "running" and get(id, "token") == token
end

local commands = {}

-- id, kind, queue, priority, key, payload -> the id of the key's job, and whether its payload is the same
function commands.submit(id, kind, queue, priority, key, payload)
    local index = prefix .. "key:" .. kind .. ":" .. key
    local there = redis.call("GET", index)
    if there and redis.call("EXISTS", hash(there)) == 1 then
        return { there, get(there, "payload") == payload and 1 or 0, there == id and 1 or 0 }
    end
    redis.call("SET", index, id)
    redis.call("HSET", hash(id), "id", id, "kind", kind, "queue", queue, "priority", priority,
        "key", key, "payload", payload, "created", moment())
    send(id, "RPUSH")
    return { id, 1, 1 }
end

-- id, token, worker, lease -> what the attempt needs, or nothing if it must not start
function commands.claim(id, token, worker, lease)
    if not holds(id, token) then
        if get(id, "state") ~= "queued" or redis.call("ZSCORE", of_queue(id, "due"), id) then
            return false
        end
        leave(id)
        redis.call("HINCRBY", hash(id), "attempts", 1)
        change(id, "state", "running", "token", token, "worker", worker, "started", moment(),
            "progress", "0", "said", "")
        redis.call("ZADD", of_queue(id, "running"), now + tonumber(lease), id)
    end
    return redis.call("HMGET", hash(id), "kind", "key", "attempts", "payload")
end

-- worker, record, lease, calm, then id and token of each attempt -> a verdict for each
function commands.beat(worker, record, lease, calm, ...)
    redis.call("HSET", prefix .. "workers", worker, record)
    -- After a while without any heartbeat, as when Redis was down, others get the time to report.
    if now - tonumber(redis.call("GET", prefix .. "heard") or "0") > tonumber(calm) then
        redis.call("SET", prefix .. "calm", now + tonumber(calm))
    end
    redis.call("SET", prefix .. "heard", now)
    local attempts, said = { ... }, {}
    for place = 1, #attempts, 2 do
        local id, token = attempts[place], attempts[place + 1]
        if not holds(id, token) then
            table.insert(said, "lost")
        else
            redis.call("ZADD", of_queue(id, "running"), now + tonumber(lease), id)
            table.insert(said, get(id, "cancel") == "1" and "cancelled" or "")
        end
    end
    return said
end

function commands.progress(id, token, fraction, said)
    if not holds(id, token) then
        return 0
    end
    change(id, "progress", fraction, "said", said)
    return 1
end

-- id, token, state, seconds to keep it, result, error -> whether the job has this outcome
function commands.finish(id, token, state, seconds, result, why)
    if not holds(id, token) then
        return get(id, "token") == token and get(id, "state") == state and 1 or 0
    end
    if state == "done" then
        settle(id, state, seconds, "result", result, "progress", "1")
    else
        settle(id, state, seconds, "error", why)
    end
    return 1
end

-- id, token, error, seconds until the retry, failures allowed, seconds to keep a dead letter
function commands.fail(id, token, why, delay, allowed, seconds)
    if not holds(id, token) then
        return 0
    end
    if cancelled(id, seconds) then
        return 1
    end
    if redis.call("HINCRBY", hash(id), "failures", 1) >= tonumber(allowed) then
        settle(id, "dead", seconds, "error", why)
        return 1
    end
    leave(id)
    local due = now + tonumber(delay)
    change(id, "state", "queued", "error", why, "due", string.format("%.3f", due))
    redis.call("ZADD", of_queue(id, "due"), due, id)
    count(id, "retried")
    return 1
end

-- id, token, seconds to keep it if it was cancelled; if not, the attempt does not count, and the job
-- is next in its line
function commands.give_back(id, token, seconds)
    if not holds(id, token) then
        return 0
    end
    if cancelled(id, seconds) then
        return 1
    end
    redis.call("HINCRBY", hash(id), "attempts", -1)
    send(id, "LPUSH")
    return 1
end

-- id, seconds to keep it -> its new state
function commands.cancel(id, seconds)
    local state = get(id, "state")
    if state == "queued" then
        settle(id, "cancelled", seconds)
    elseif state == "running" then
        change(id, "cancel", "1")
    end
    return get(id, "state")
end

-- id -> whether it was a dead letter, which is now queued again
function commands.again(id)
    if get(id, "state") ~= "dead" then
        return 0
    end
    redis.call("PERSIST", hash(id))
    redis.call("SET", prefix .. "key:" .. get(id, "kind") .. ":" .. get(id, "key"), id)
    redis.call("HDEL", hash(id), "attempts", "finished", "failures", "losses", "cancel", "error")
    send(id, "RPUSH")
    return 1
end

-- queue, losses allowed, seconds to keep a cancelled job, seconds to keep a dead letter
function commands.sweep(queue, allowed, seconds, seconds_dead)
    local due = redis.call("ZRANGEBYSCORE", prefix .. "due:" .. queue, 0, now, "LIMIT", 0, 500)
    for _, id in ipairs(due) do
        send(id, "RPUSH")
    end
    local running = prefix .. "running:" .. queue
    local lost = {}
    if tonumber(redis.call("GET", prefix .. "calm") or "0") < now then
        lost = redis.call("ZRANGEBYSCORE", running, 0, now, "LIMIT", 0, 500)
    end
    for _, id in ipairs(lost) do
        count(id, "lost")
        if not cancelled(id, seconds) then
            if redis.call("HINCRBY", hash(id), "losses", 1) > tonumber(allowed) then
                local why = "its worker was lost " .. get(id, "losses") .. " times"
                settle(id, "dead", seconds_dead, "error", why)
            else
                send(id, "LPUSH")
            end
        end
    end
    redis.call("ZREMRANGEBYSCORE", prefix .. "dead:" .. queue, 0, now - tonumber(seconds_dead))
    return #due + #lost
end

return commands[command](unpack(given))
