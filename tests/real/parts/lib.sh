# What the real parts share; sourced, never run. Everything binds to 127.0.0.1, everything a part
# owns lies in the folder given to it, and only processes whose pid it wrote there are ever stopped.

die() { printf '%s: %s\n' "${0##*/}" "$*" >&2; exit 1; }

# Whether something accepts connections at a port.
listens() { (exec 3<>"/dev/tcp/127.0.0.1/$1") 2>/dev/null; }

# A port nobody listens at, below the range the kernel gives to outgoing connections: a part that is
# killed must find it free again.
free_port() {
  local port
  for _ in {1..100}; do
    port=$((20000 + SRANDOM % 12000))
    listens "$port" || { echo "$port"; return; }
  done
  die "no free port between 20000 and 32000"
}

# within SECONDS COMMAND...: repeats COMMAND until it succeeds, fails when the time is over.
within() {
  local deadline=$((SECONDS + $1)); shift
  until "$@"; do
    ((SECONDS < deadline)) || return 1
    sleep 0.05
  done
}

# Whether the process of a pid file runs.
runs() { [[ -s $1 ]] && kill -0 "$(<"$1")" 2>/dev/null; }
# Whether a pid has ended; a zombie has, however long its parent takes to notice.
gone() { local stat; ! { stat=$(<"/proc/$1/stat"); } 2>/dev/null || [[ ${stat##*) } == Z* ]]; }

# stop PIDFILE: kills the process group that the process leads (start it with setsid), and waits for
# the end. SIGKILL, for what a part owns is thrown away or has to survive just that.
stop() {
  local pid
  if runs "$1"; then
    pid=$(<"$1")
    kill -KILL -- "-$pid"
    within 10 gone "$pid" || die "process $pid does not end"
  fi
  rm -f "$1"
}
