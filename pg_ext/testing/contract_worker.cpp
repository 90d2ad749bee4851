// The contract that every store keeps, on PostgreSQL: in a background worker, since a store's transactions are whole
// ones. A library of its own beside rowmesh.so, with its own copy of the store; what the application writes is captured
// by the rowmesh.so of the server (regress/cluster/test_store_contract.py).
#include <csignal>
#include <memory>

#include "pg_ext/capture.hpp"
#include "pg_ext/guard.hpp"
#include "pg_ext/shared_memory.hpp"
#include "pg_ext/statement.hpp"
#include "pg_ext/store.hpp"
#include "shared/model/hex.hpp"
#include "shared/testing/store_contract.hpp"

#include "pg_ext/pg_prelude.hpp"

extern "C" {
#include "access/xact.h"
#include "fmgr.h"
#include "miscadmin.h"
#include "postmaster/bgworker.h"
#include "storage/ipc.h"
#include "tcop/tcopprot.h"
#include "utils/builtins.h"
#include "utils/guc.h"
#include "utils/memutils.h"
#include "utils/snapmgr.h"
}

namespace rowmesh {
namespace {

using testing::ContractStatement;
using testing::ContractTable;

std::string quoted(const std::string& name) { return "\"" + name + "\""; }

std::string names(const std::vector<std::string>& list) {
  std::string text;
  for (auto& name : list) text += (text.empty() ? "" : ", ") + quoted(name);
  return text;
}

const char* declared(ColumnType type) {
  switch (type) {
    case ColumnType::integer: return "bigint";
    case ColumnType::real: return "double precision";
    case ColumnType::bytes: return "bytea";
    case ColumnType::boolean: return "boolean";
    default: return "text";
  }
}

std::string literal(const Value& value) {
  switch (value.kind) {
    case ValueKind::null: return "NULL";
    case ValueKind::integer: return std::to_string(value.integer);
    case ValueKind::real: return "'" + std::to_string(value.real) + "'::float8";
    case ValueKind::bytes: return "'\\x" + bytes_to_hex(value.text) + "'::bytea";
    default: break;
  }
  std::string text = "'";
  for (char letter : value.text) text += letter == '\'' ? "''" : std::string(1, letter);
  return text + "'";
}

// What an application does: in a transaction of its own, captured.
void as_application(const std::vector<std::string>& statements) {
  guard([] {
    StartTransactionCommand();
    PushActiveSnapshot(GetTransactionSnapshot());
  });
  try {
    run_made_sql("SELECT pg_catalog.set_config('session_replication_role', 'origin', true)");
    for (const std::string& sql : statements) {
      run_made_sql(sql);
      guard([] {
        CommandCounterIncrement();
        UpdateActiveSnapshotCommandId();
      });
    }
    guard([] {
      PopActiveSnapshot();
      CommitTransactionCommand();
    });
  } catch (...) {
    AbortCurrentTransaction();
    throw;
  }
  MemoryContextSwitchTo(TopMemoryContext);
}

class PgFixture : public testing::StoreFixture {
 public:
  explicit PgFixture(SharedSlot* slot) : slot_(slot) {}

  Store& store() override {
    if (!store_) store_ = std::make_unique<PgStore>(slot_);
    return *store_;
  }
  void reopen() override {
    if (store_) store_->rollback();
    store_.reset();
    as_application({"SELECT pg_catalog.pg_switch_wal()"});  // what is read next ends where no record has begun yet
  }
  bool replays_log() const override { return true; }
  bool has_truncate() const override { return true; }

  void create_table(const ContractTable& table) override {
    std::string columns;
    for (auto& column : table.columns)
      columns += quoted(column.name) + " " + declared(column.type) + (column.not_null ? " NOT NULL, " : ", ");
    columns += "PRIMARY KEY (" + names(table.key) + ")";
    for (auto& unique : table.uniques) columns += ", UNIQUE (" + names(unique) + ")";
    as_application({"CREATE TABLE public." + quoted(table.name) + " (" + columns + ")",
                    "SELECT rowmesh.add_table('public." + quoted(table.name) + "')"});
    tables_[table.name] = table;
  }

  void run(const std::vector<ContractStatement>& statements) override {
    std::vector<std::string> texts;
    texts.reserve(statements.size());
    for (auto& statement : statements) texts.push_back(text(statement));
    as_application(texts);
  }

 private:
  std::string text(const ContractStatement& statement) const {
    const ContractTable& table = tables_.at(statement.table);
    std::string where, values, name = "public." + quoted(table.name);
    for (std::size_t i = 0; i < statement.key.size(); i++)
      where += (i ? " AND " : " WHERE ") + quoted(table.key[i]) + " = " + literal(statement.key[i]);
    bool update = statement.op == ContractStatement::update;
    for (std::size_t i = 0; i < statement.row.size(); i++)
      values += (i ? ", " : "") + (update ? quoted(table.columns[i].name) + " = " : "") + literal(statement.row[i]);
    switch (statement.op) {
      case ContractStatement::insert: return "INSERT INTO " + name + " VALUES (" + values + ")";
      case ContractStatement::update: return "UPDATE " + name + " SET " + values + where;
      case ContractStatement::remove: return "DELETE FROM " + name + where;
      case ContractStatement::truncate: break;
    }
    return "TRUNCATE " + name;
  }

  SharedSlot* slot_;
  std::unique_ptr<PgStore> store_;
  std::map<std::string, ContractTable> tables_;
};

// The node's own worker would read the log first.
void send_the_worker_away(SharedSlot* slot) {
  pg_atomic_write_u32(&slot->hold, static_cast<std::uint32_t>(MyProcPid));
  while (*const_cast<volatile int*>(&slot->worker_pid) != 0) {
    wake_worker(slot);
    guard([] {
      pg_usleep(20000);
      CHECK_FOR_INTERRUPTS();
    });
  }
}

void run_contract() {
  SharedSlot* slot = nullptr;
  guard([&] { slot = my_slot(); });
  send_the_worker_away(slot);
  PgFixture fixture(slot);
  auto results = testing::run_store_contract(fixture);
  std::vector<std::string> rows;
  rows.reserve(results.size());
  for (auto& result : results)
    rows.push_back("INSERT INTO public.contract_result VALUES (" + literal(Value::of_text(result.name)) + ", " +
                   (result.ok ? "true" : "false") + ", " + literal(Value::of_text(result.message)) + ")");
  as_application(rows);
}

}  // namespace
}  // namespace rowmesh

extern "C" {
ROWMESH_MODULE_MAGIC;
PG_FUNCTION_INFO_V1(rowmesh_run_contract);
PGDLLEXPORT Datum rowmesh_run_contract(PG_FUNCTION_ARGS);
PGDLLEXPORT void rowmesh_contract_main(Datum database);

void rowmesh_contract_main(Datum database) {
  using namespace rowmesh;
  pqsignal(SIGTERM, die);
  BackgroundWorkerUnblockSignals();
  BackgroundWorkerInitializeConnectionByOid(DatumGetObjectId(database), InvalidOid, 0);
  install_transaction_callbacks();
  SetConfigOption("session_replication_role", "replica", PGC_SUSET, PGC_S_OVERRIDE);
  SetConfigOption("search_path", "pg_catalog, pg_temp", PGC_SUSET, PGC_S_OVERRIDE);
  SetConfigOption("extra_float_digits", "1", PGC_SUSET, PGC_S_OVERRIDE);
  door(run_contract);
  proc_exit(0);
}

// run_contract(library text): starts the worker and waits until it has ended.
Datum rowmesh_run_contract(PG_FUNCTION_ARGS) {
  BackgroundWorker worker = {};
  strlcpy(worker.bgw_name, "rowmesh store contract", BGW_MAXLEN);
  strlcpy(worker.bgw_type, "rowmesh store contract", BGW_MAXLEN);
  worker.bgw_flags = BGWORKER_SHMEM_ACCESS | BGWORKER_BACKEND_DATABASE_CONNECTION;
  worker.bgw_start_time = BgWorkerStart_RecoveryFinished;
  worker.bgw_restart_time = BGW_NEVER_RESTART;
  strlcpy(worker.bgw_library_name, text_to_cstring(PG_GETARG_TEXT_PP(0)), sizeof worker.bgw_library_name);
  strlcpy(worker.bgw_function_name, "rowmesh_contract_main", BGW_MAXLEN);
  worker.bgw_main_arg = ObjectIdGetDatum(MyDatabaseId);
  worker.bgw_notify_pid = MyProcPid;
  BackgroundWorkerHandle* handle;
  if (!RegisterDynamicBackgroundWorker(&worker, &handle)) ereport(ERROR, (errmsg("no background worker is free")));
  WaitForBackgroundWorkerShutdown(handle);
  PG_RETURN_VOID();
}
}
