# Counting what passed and failed; sourced by tests/run and .ci/run.

passed=0 failed=0 failures=()

heading() { printf '\n== %s\n' "$*"; }
fail() { failed=$((failed + ${2:-1})); failures+=("$1"); }

# check NAME COMMAND...: one thing that passes or fails.
check() {
  heading "$1"
  if "${@:2}"; then passed=$((passed + 1)); else fail "$1"; fi
}

# suite NAME COMMAND...: a command that counts itself. Its last words about numbers are believed, in
# the form of this file, of cargo-nextest or of cargo test; without any the suite counts as one.
suite() {
  heading "$1"
  local log good bad status=0
  log=$(mktemp)
  "${@:2}" 2>&1 | tee "$log" || status=$?
  read -r good bad < <(tallied "$log")
  rm -f "$log"
  passed=$((passed + good))
  if ((bad == 0 && status != 0)); then bad=1; fi
  if ((bad)); then fail "$1" "$bad"; fi
}

# tallied LOG: prints "PASSED FAILED".
tallied() {
  sed 's/\x1b\[[0-9;]*m//g' "$1" | awk '
    function before(word,   i) {
      for (i = 2; i <= NF; i++) if ($i ~ "^" word "[,;]?$") return $(i - 1) + 0
      return 0
    }
    /^ *Summary \[/ { good += before("passed"); bad += before("failed") + before("timed") }
    /^test result:/ { good += before("passed"); bad += before("failed") }
    /^[0-9]+ passed, [0-9]+ failed$/ { good += $1; bad += $3 }
    END { print good + 0, bad + 0 }'
}

# The summary, last on standard output; fails if anything did.
conclude() {
  local name
  for name in "${failures[@]}"; do printf 'failed: %s\n' "$name"; done
  printf '%d passed, %d failed\n' "$passed" "$failed"
  ((failed == 0))
}
