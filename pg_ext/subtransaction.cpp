#include "pg_ext/subtransaction.hpp"

#include "pg_ext/guard.hpp"

#include "pg_ext/pg_prelude.hpp"

extern "C" {
#include "access/xact.h"
#include "utils/memutils.h"
#include "utils/resowner.h"
}

namespace rowmesh {
namespace {

// Palloc'd in the caller's context; plain data, since the jump lands in this frame.
struct Outcome {
  bool failed;
  ErrorData* error;
};

Outcome run(void (*function)(void*), void* argument) {
  MemoryContext context = CurrentMemoryContext;
  ResourceOwner owner = CurrentResourceOwner;
  volatile bool failed = false;
  ErrorData* volatile error = nullptr;
  PG_TRY();
  {
    BeginInternalSubTransaction(nullptr);
    // Without this every row would leave its memory behind until the end of the transaction (measured.md, PG 5).
    MemoryContextSwitchTo(context);
    function(argument);
    ReleaseCurrentSubTransaction();
  }
  PG_CATCH();
  {
    failed = true;
    MemoryContextSwitchTo(context);
    error = CopyErrorData();
    FlushErrorState();
    RollbackAndReleaseCurrentSubTransaction();
  }
  PG_END_TRY();
  MemoryContextSwitchTo(context);
  CurrentResourceOwner = owner;
  return {failed, error};
}

std::string string_of(const char* text) { return text ? text : ""; }

}  // namespace

bool attempt_call(void (*function)(void*), void* argument, DatabaseRefusal& refusal) {
  Outcome outcome = {};
  guard([&] { outcome = run(function, argument); });
  if (!outcome.failed) return true;
  const ErrorData* error = outcome.error;
  refusal.refused = true;
  refusal.code = unpack_sql_state(error->sqlerrcode);
  refusal.text = string_of(error->message);
  if (error->detail) refusal.text += ": " + string_of(error->detail);
  refusal.constraint = string_of(error->constraint_name);
  FreeErrorData(outcome.error);
  ErrorKind kind = kind_of_sqlstate(refusal.code);
  if (kind == ErrorKind::transient) throw Error(kind, refusal.code, refusal.text);
  return false;
}

}  // namespace rowmesh
