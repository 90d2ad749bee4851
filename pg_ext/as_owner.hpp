// What belongs to a table runs with the rights of its owner, as when the owner writes it: CHECK constraints, domains,
// generated columns, index expressions and triggers may call functions that the owner wrote, and the worker is a
// superuser. (PostgreSQL 16 does the same for its own logical replication; before it did not, and a table's owner could
// become a superuser.)
#pragma once
#include "pg_ext/pg_prelude.hpp"

namespace rowmesh {

class AsOwner {
 public:
  explicit AsOwner(Oid owner);
  // The worker again, with its own settings, whatever was set meanwhile. Also after an error.
  ~AsOwner();
  AsOwner(const AsOwner&) = delete;
  AsOwner& operator=(const AsOwner&) = delete;

 private:
  Oid user_ = InvalidOid;
  int context_ = 0, settings_level_ = 0;
};

// A deferred trigger would run at the commit, as the worker. In a transaction, before anything is written.
void fire_triggers_at_once();  // RAISES

}  // namespace rowmesh
