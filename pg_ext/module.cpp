// The library's door.
#include "pg_ext/capture.hpp"
#include "pg_ext/launcher.hpp"
#include "pg_ext/settings.hpp"
#include "pg_ext/shared_memory.hpp"

#include "pg_ext/pg_prelude.hpp"

extern "C" {
ROWMESH_MODULE_MAGIC;

// The names are PostgreSQL's. NOLINTNEXTLINE(bugprone-reserved-identifier)
PGDLLEXPORT void _PG_init(void);

void _PG_init(void) {           // NOLINT(bugprone-reserved-identifier)
  if (IsBinaryUpgrade) return;  // pg_upgrade's servers must start no workers
  rowmesh::define_settings();
  rowmesh::install_transaction_callbacks();
  rowmesh::install_utility_hook();
  if (!process_shared_preload_libraries_in_progress) return;
  rowmesh::request_shared_memory();
  rowmesh::register_launcher();
}
}
