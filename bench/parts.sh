# Starting what is measured, privately on loopback; sourced by bench/compare and bench/gate.
#
# What `begin` started is in `pids`, and is stopped by process id.

shopt -s inherit_errexit
: "${CARGO_TARGET_DIR:=$PWD/target}"
export CARGO_TARGET_DIR
pids=()

# Builds the proxy as it is released, and the load generator.
build() {
  proxy=$(deploy/static-build instructions load)
  load=${proxy%/*}/load
  work=$(mktemp -d)
  chmod 755 "$work"
  trap 'stop_all; rm -rf "$work"' EXIT
  trap 'exit 130' INT TERM
  ulimit -n "$(ulimit -Hn)"
}

# Sets `port` to one that nobody listens on.
free_port() {
  while
    port=$((20000 + RANDOM % 10000))
    (exec 3<>"/dev/tcp/127.0.0.1/$port") 2>/dev/null
  do :; done
}

# begin LOG COMMAND...: runs it in the background; `begun` is its process id.
begin() {
  "${@:2}" >"$work/$1.log" 2>&1 </dev/null &
  begun=$!
  pids+=("$begun")
}

# Waits until port $1 answers; its log $2 is shown if it does not.
await() {
  local try
  for ((try = 0; try < 100; try++)); do
    if (exec 3<>"/dev/tcp/127.0.0.1/$1") 2>/dev/null; then return; fi
    sleep 0.1
  done
  printf '%s does not listen:\n' "$2" >&2
  tail "$work/$2.log" >&2
  return 1
}

# A process and all below it, separated by commas.
family() {
  local child
  printf %s "$1"
  for child in $(pgrep -P "$1"); do printf ,; family "$child"; done
}

# Ends the process $1, which `begin` started, and waits for it.
stop() {
  kill "$1" 2>/dev/null || true
  wait "$1" 2>/dev/null || true
}

stop_all() {
  local pid
  for pid in "${pids[@]}"; do stop "$pid"; done
}

# The JMAP server behind everything; sets `upstream_port`.
begin_upstream() {
  free_port
  upstream_port=$port
  begin upstream "$load" upstream "127.0.0.1:$upstream_port"
  upstream=$begun
  await "$upstream_port" upstream
}

# begin_ours [NAME=VALUE...]: the proxy, with more of its settings. Sets `url`, `socket` (the same for
# WebSockets, with `push` to open them), `trigger`, `body`, `headers` and `server` for `load`, and `part`
# to end it. One user holds all streams, and no event waits for the one before it.
begin_ours() {
  free_port
  begin ours env \
    JMAP_PUSH_PROXY__LIMITS__STREAMS_PER_USER=0 JMAP_PUSH_PROXY__EVENT_SOURCE__THROTTLE=0s \
    JMAP_PUSH_PROXY__WEBSOCKET__THROTTLE=0s \
    JMAP_PUSH_PROXY__DRAIN__PRE_STOP=0s JMAP_PUSH_PROXY__DRAIN__WINDOW=0s \
    JMAP_PUSH_PROXY__PUSH__STORE="$work/push.sqlite" "$@" \
    "$proxy" --listen "127.0.0.1:$port" --upstream "http://127.0.0.1:$upstream_port" \
    --admin off --probes off
  part=$begun server=$begun
  await "$port" ours
  url="http://127.0.0.1:$port/jmap/eventsource/?types=*&closeafter=no&ping=0"
  socket=http://127.0.0.1:$port/jmap/ws/
  push=(--websocket --enable '{"@type":"WebSocketPushEnable","dataTypes":null}')
  trigger=http://127.0.0.1:$port/jmap/
  headers=(--header "Authorization: Basic YWxpY2U6c2VjcmV0")
  local account=$(curl -s -H "Authorization: Basic YWxpY2U6c2VjcmV0" \
    "http://127.0.0.1:$port/.well-known/jmap" | sed -n 's/.*"username":"\([^"]*\)".*/\1/p')
  # One call changes; the others tell the states that changed with it.
  body='{"using":["urn:ietf:params:jmap:core","urn:ietf:params:jmap:mail"],"methodCalls":[
    ["Email/set",{"accountId":"'$account'","update":{"M1":{"keywords/$seen":true}}},"0"],
    ["Email/get",{"accountId":"'$account'","ids":[]},"1"],
    ["Mailbox/get",{"accountId":"'$account'","ids":[]},"2"],
    ["Thread/get",{"accountId":"'$account'","ids":[]},"3"]]}'
}
