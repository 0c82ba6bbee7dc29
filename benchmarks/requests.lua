-- The load for wrk: POSTs JSON to one path, and reports what came of it as one line of JSON.
-- Arguments after `--`: the path and the body; `{n}` in either becomes a number that no other
-- request of this run has, behind a prefix that no other run has (third argument).

local thread_count = 0

function setup(thread)
  thread:set("thread_no", thread_count)
  thread_count = thread_count + 1
end

function init(args)
  path, body, prefix, sent = args[1], args[2], args[3], 0
  wrk.headers["content-type"] = "application/json"
  if not (path .. body):find("{n}", 1, true) then
    fixed = wrk.format("POST", path, nil, body)
  end
end

function request()
  if fixed then
    return fixed
  end
  sent = sent + 1
  local n = prefix .. thread_no .. "-" .. sent
  return wrk.format("POST", (path:gsub("{n}", n)), nil, (body:gsub("{n}", n)))
end

function done(summary, latency)
  local errors = summary.errors
  io.write(string.format(
    'REPORT {"requests": %d, "duration_us": %d, "p50_us": %d, "p99_us": %d, '
      .. '"connect_errors": %d, "read_errors": %d, "write_errors": %d, '
      .. '"status_errors": %d, "timeouts": %d}\n',
    summary.requests, summary.duration, latency:percentile(50), latency:percentile(99),
    errors.connect, errors.read, errors.write, errors.status, errors.timeout))
end
