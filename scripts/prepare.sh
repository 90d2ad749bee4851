# Sourced by ./dev: installs what is missing, builds, puts the extension where PostgreSQL looks for it.
# Uses: build, top.

build_packages=(g++ cmake ninja-build pkg-config libcurl4-openssl-dev libmicrohttpd-dev libgnutls28-dev libsimdjson-dev nlohmann-json3-dev
  libzstd-dev libssl-dev libsqlite3-dev sqlite3 openssl libgtest-dev python3 python3-psycopg2)

say() { printf '%s\n' "$*" >&2; }
die() {
  say "dev: $*"
  exit 1
}

as_root() {
  if [ "$(id -u)" -eq 0 ]; then
    "$@"
  elif command -v sudo >/dev/null 2>&1; then
    sudo "$@"
  else
    die "this step needs root: run as root, or install sudo. The step: $*"
  fi
}

installed() { dpkg-query -W -f '${Status}' "$1" 2>/dev/null | grep -q 'ok installed'; }

# apt-get only when something is missing, so that a second run works without network and without root.
need_packages() {
  local missing=() package
  if ! command -v dpkg-query >/dev/null 2>&1; then
    for package in g++ cmake ninja pg_config python3; do
      command -v "$package" >/dev/null 2>&1 ||
        die "this is not Debian, and $package is missing. Install what docs/libraries.md lists, then run this again."
    done
    return
  fi
  for package in "$@"; do installed "$package" || missing+=("$package"); done
  [ ${#missing[@]} -eq 0 ] && return
  say "Installing: ${missing[*]}"
  apt_get update -qq || say "The package lists could not be renewed; trying with the ones that are here."
  apt_get install -y -qq --no-install-recommends "${missing[@]}" >"$apt_log" 2>&1 || {
    tail -n 20 "$apt_log" >&2
    die "apt-get could not install them; the whole output is in $apt_log. Install them by hand, then run this again."
  }
}
apt_log=${TMPDIR:-/tmp}/rowmesh-apt.$(id -u).log
apt_get() { as_root env DEBIAN_FRONTEND=noninteractive apt-get -o DPkg::Lock::Timeout=120 "$@" </dev/null; }

has_postgresql() {
  local bin
  bin=$(pg_config --bindir 2>/dev/null) || return 1
  [ -x "$bin/initdb" ] && [ -f "$(pg_config --includedir-server)/postgres.h" ] && [ -x "$(pg_regress_path)" ]
}
pg_regress_path() { echo "$(dirname "$(pg_config --pgxs)")/../test/regress/pg_regress"; }

# Debian starts a server of its own when PostgreSQL is installed for the first time. The throw-away ones of the demo and the tests
# are all that is wanted here, so that start is switched off for the time of the installation.
need_postgresql() {
  has_postgresql && return
  command -v apt-get >/dev/null 2>&1 || die "PostgreSQL with its server headers is missing (pg_config must be in PATH)."
  apt_get update -qq || true
  local version switch=/etc/postgresql-common/createcluster.d/rowmesh-build.conf fresh=
  version=$(apt-cache depends postgresql 2>/dev/null | sed -n 's/.*Depends: postgresql-\([0-9]*\)$/\1/p' | head -n 1)
  installed postgresql-common || fresh=yes
  if [ -n "$fresh" ]; then
    as_root mkdir -p "$(dirname "$switch")"
    echo 'create_main_cluster = false' | as_root tee "$switch" >/dev/null
  fi
  need_packages "postgresql-${version:-15}" "postgresql-server-dev-${version:-15}"
  [ -z "$fresh" ] || as_root rm -f "$switch"
  has_postgresql || die "pg_config ($(command -v pg_config)) belongs to another PostgreSQL than the one that was installed; put its folder first in PATH."
}

prepare_packages() {
  need_packages "${build_packages[@]}"
  need_postgresql
}

prepare_build() {
  local log=$build/build.log
  mkdir -p "$build"
  if [ ! -f "$build/build.ninja" ]; then
    cmake -G Ninja -S "$top" -B "$build" -DCMAKE_BUILD_TYPE=RelWithDebInfo ${ROWMESH_CMAKE_FLAGS:-} >"$log" 2>&1 || {
      tail -n 30 "$log" >&2
      die "cmake could not prepare the build; the whole output is in $log."
    }
  fi
  say "Building (the first time takes some minutes) ..."
  nice -n 5 ninja -C "$build" >"$log" 2>&1 || {
    grep -E -m 10 -A 6 'error|FAILED' "$log" >&2 || tail -n 30 "$log" >&2
    die "the build failed; the whole output is in $log."
  }
}

# PostgreSQL before 18 reads extensions from its own folders only, so they must be put there.
prepare_install() {
  local stamp=$build/installed.sum
  [ -e "$build/pg_ext/rowmesh.so" ] || return 0   # built for SQLite alone
  [ -f "$stamp" ] && [ "$(cat "$stamp")" = "$(install_state)" ] && return
  as_root cmake --install "$build" --component postgresql >"$build/install.log" 2>&1 || {
    tail -n 10 "$build/install.log" >&2
    die "the PostgreSQL extension could not be installed into $(pg_config --pkglibdir)."
  }
  install_state >"$stamp"
}
# What was built and what stands in PostgreSQL's folders: the same as after the last installation means nothing is to do.
install_state() {
  cat "$build"/pg_ext/*.so "$top"/sql/* 2>/dev/null | sha256sum
  cat "$(pg_config --pkglibdir)"/rowmesh.so "$(pg_config --sharedir)"/extension/rowmesh* 2>/dev/null | sha256sum
}

prepare_all() {
  prepare_packages
  prepare_build
  prepare_install
}

# For the tests that let Django and Alembic migrate; without them these tests are skipped and say so.
prepare_migration_tools() {
  installed python3-django && installed python3-alembic && return
  (need_packages python3-django python3-alembic) || say "Django and Alembic could not be installed; their tests are skipped."
}

# For the tests of dashboard and monitoring: a browser, what drives it, and Prometheus. Where one cannot be had, the tests that need it are skipped and say so.
prepare_dashboard_tools() {
  local tools=$build/tools
  mkdir -p "$tools/dashboard" "$tools/prometheus"
  command -v chromium >/dev/null 2>&1 || (need_packages chromium) || say "Chromium could not be installed."
  command -v node >/dev/null 2>&1 || (need_packages nodejs) || say "Node.js could not be installed."
  # Unpacked, not installed: the package would start a service of its own.
  if ! command -v promtool >/dev/null 2>&1 && [ ! -x "$tools/prometheus/usr/bin/promtool" ]; then
    (cd "$tools" && apt-get -qq download prometheus && dpkg -x prometheus_*.deb prometheus && rm -f prometheus_*.deb) >"$apt_log" 2>&1 ||
      say "Prometheus could not be fetched."
  fi
  if ! cmp -s "$top/regress/dashboard/package-lock.json" "$tools/dashboard/package-lock.json" || [ ! -d "$tools/dashboard/node_modules" ]; then
    command -v npm >/dev/null 2>&1 || (need_packages npm) || true
    cp "$top"/regress/dashboard/package*.json "$tools/dashboard/"
    (cd "$tools/dashboard" && npm ci --ignore-scripts --no-audit --no-fund) >"$build/npm.log" 2>&1 || {
      rm -rf "$tools/dashboard/node_modules"
      say "playwright-core could not be fetched with npm; see $build/npm.log."
    }
  fi
}
