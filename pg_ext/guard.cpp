#include "pg_ext/guard.hpp"

#include <cctype>
#include <cstdio>
#include <cstring>
#include <new>

#include "pg_ext/pg_prelude.hpp"

namespace rowmesh {
namespace {

int sqlstate_of(const Error& error) {
  const std::string& code = error.code();
  if (code.size() == 5) {
    bool sqlstate = true;
    for (unsigned char c : code) sqlstate = sqlstate && (std::isdigit(c) || std::isupper(c));
    if (sqlstate) return MAKE_SQLSTATE(code[0], code[1], code[2], code[3], code[4]);
  }
  switch (error.kind()) {
    case ErrorKind::transient: return ERRCODE_OBJECT_IN_USE;
    case ErrorKind::permanent:
    case ErrorKind::config: return ERRCODE_INVALID_PARAMETER_VALUE;
    case ErrorKind::protocol: return ERRCODE_PROTOCOL_VIOLATION;
    case ErrorKind::corrupt: return ERRCODE_DATA_CORRUPTED;
    case ErrorKind::bug: break;
  }
  return ERRCODE_INTERNAL_ERROR;
}

struct CopiedError {
  bool failed;
  int sqlstate;
  char* text;
};

// No object with a destructor here: the jump lands in this frame.
CopiedError call(void (*function)(void*), void* argument) {
  MemoryContext context = CurrentMemoryContext;
  volatile bool failed = false;
  PG_TRY();
  { function(argument); }
  PG_CATCH();
  { failed = true; }
  PG_END_TRY();
  CopiedError copied = {failed, 0, nullptr};
  if (!failed) return copied;
  MemoryContextSwitchTo(context);
  ErrorData* data = CopyErrorData();
  FlushErrorState();
  copied.sqlstate = data->sqlerrcode;
  const char* message = data->message ? data->message : "an error without a message";
  copied.text = data->detail ? psprintf("%s: %s", message, data->detail) : pstrdup(message);
  FreeErrorData(data);
  return copied;
}

}  // namespace

void guard_call(void (*function)(void*), void* argument) {
  CopiedError copied = call(function, argument);
  if (!copied.failed) return;
  std::string code = unpack_sql_state(copied.sqlstate), text = copied.text;
  pfree(copied.text);
  throw Error(kind_of_sqlstate(code), code, text);
}

ErrorKind kind_of_sqlstate(const std::string& sqlstate) {
  std::string_view group = std::string_view(sqlstate).substr(0, 2);
  // 40 serialization and deadlock, 53 out of something, 57 cancelled or shutting down, 58 the system (disk), 55P03 lock
  // timeout, 55006 in use, 25006 a read-only transaction (a standby that is being promoted), 08 connection.
  if (group == "40" || group == "53" || group == "57" || group == "58" || group == "08") return ErrorKind::transient;
  if (sqlstate == "55P03" || sqlstate == "55006" || sqlstate == "25006") return ErrorKind::transient;
  if (group == "XX") return sqlstate == "XX000" ? ErrorKind::permanent : ErrorKind::corrupt;
  return ErrorKind::permanent;
}

void note_exception(CaughtError& caught) noexcept {
  caught.caught = true;
  caught.sqlstate = ERRCODE_INTERNAL_ERROR;
  const char* text = "an unknown exception";
  try {
    throw;
  } catch (const Error& error) {
    caught.sqlstate = sqlstate_of(error);
    snprintf(caught.text, sizeof caught.text, "%s", error.what());
    return;
  } catch (const std::bad_alloc&) {
    caught.sqlstate = ERRCODE_OUT_OF_MEMORY;
    text = "out of memory";
  } catch (const std::exception& error) {
    snprintf(caught.text, sizeof caught.text, "%s", error.what());
    return;
  } catch (...) {}
  snprintf(caught.text, sizeof caught.text, "%s", text);
}

void raise_caught(const CaughtError& caught) {
  ereport(ERROR, (errcode(caught.sqlstate), errmsg_internal("rowmesh: %s", caught.text)));
  pg_unreachable();
}

}  // namespace rowmesh
