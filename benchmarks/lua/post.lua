-- The same POST again and again. Arguments: the folder of these scripts, the path, the body.
local path, body

function init(args)
  path, body = args[2], args[3]
  wrk.headers["content-type"] = "application/json"
end

function request()
  return wrk.format("POST", path, nil, body)
end

function done(summary, latency)
  REPORT(summary, latency)
end
