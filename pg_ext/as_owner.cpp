#include "pg_ext/as_owner.hpp"

extern "C" {
#include "commands/trigger.h"
#include "miscadmin.h"
#include "nodes/makefuncs.h"
#include "nodes/parsenodes.h"
#include "utils/guc.h"
}

namespace rowmesh {

AsOwner::AsOwner(Oid owner) {
  GetUserIdAndSecContext(&user_, &context_);
  settings_level_ = NewGUCNestLevel();
  SetUserIdAndSecContext(owner, context_ | SECURITY_RESTRICTED_OPERATION);
}

AsOwner::~AsOwner() {
  AtEOXact_GUC(false, settings_level_);
  SetUserIdAndSecContext(user_, context_);
}

void fire_triggers_at_once() {
  ConstraintsSetStmt* all = makeNode(ConstraintsSetStmt);
  all->deferred = false;
  AfterTriggerSetState(all);
}

}  // namespace rowmesh
