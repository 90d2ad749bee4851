// The launcher: one process that keeps a worker running in every database that has rowmesh.
#pragma once
#include "pg_ext/shared_memory.hpp"

#include "pg_ext/pg_prelude.hpp"

namespace rowmesh {

// By _PG_init, while the server preloads.
void register_launcher();
void install_utility_hook();

// RAISES. For a worker, when it is connected and before it touches anything of rowmesh: false, if there is no extension
// in this database, or if somebody is about to drop it. Then it ends with proc_exit(0).
bool worker_may_run(SharedSlot* slot);

}  // namespace rowmesh
