#!/usr/bin/env bash
# pg_regress against the installed extension, in a throw-away cluster. usage: run.sh [TEST...]
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
config=${PG_CONFIG:-pg_config}
bin=$("$config" --bindir)
runner=$(dirname "$("$config" --pgxs)")/../test/regress/pg_regress
work=$(mktemp -d)

# PostgreSQL refuses to run as root.
as_owner() { if [ "$(id -u)" = 0 ]; then runuser -u postgres -- "$@"; else "$@"; fi; }
[ "$(id -u)" != 0 ] || chown postgres "$work"
finish() {
  as_owner "$bin/pg_ctl" -D "$work/data" -m immediate -s stop >/dev/null 2>&1 || true
  rm -rf "$work"
}
trap finish EXIT
cd "$work"

port=
for try in $(seq 21200 21299); do
  if ! (exec 3<>"/dev/tcp/127.0.0.1/$try") 2>/dev/null; then port=$try; break; fi
done
[ -n "$port" ] || { echo "run.sh: no port between 21200 and 21299 is free" >&2; exit 1; }

as_owner "$bin/initdb" -D "$work/data" -U postgres -A trust -E UTF8 --locale=C --no-sync >/dev/null
cat >>"$work/data/postgresql.conf" <<CONF
shared_preload_libraries = 'rowmesh'
port = $port
unix_socket_directories = '$work'
max_prepared_transactions = 10
max_worker_processes = 16
fsync = off
CONF
as_owner "$bin/pg_ctl" -D "$work/data" -l "$work/log" -w -s start || { cat "$work/log"; exit 1; }

tests=("$@")
if [ ${#tests[@]} = 0 ]; then
  for file in "$here"/sql/*.sql; do tests+=("$(basename "$file" .sql)"); done
fi
mkdir out
[ "$(id -u)" != 0 ] || chown postgres out
if ! as_owner "$runner" --inputdir="$here" --outputdir="$work/out" --host="$work" --port="$port" --user=postgres --dbname=rowmesh_regress \
    --bindir="$bin" "${tests[@]}"; then
  cat "$work/out/regression.diffs"
  exit 1
fi
