// What people asked for by SQL: retry and discard of quarantined rows; copies are begun here and go on in copying.cpp.
#include "shared/sync/node_impl.hpp"

namespace rowmesh {
namespace {
constexpr std::uint64_t retry_every_ms = 60000;
}

void Node::Impl::carry_out_requests() {
  for (const Request& request : core.store.requests()) {
    if (request.kind == "copy") {
      begin_copy(request);
      continue;
    }
    if (request.kind != "retry" && request.kind != "discard") continue;
    std::int64_t number = std::atoll(request.argument.c_str());
    in_transaction([&] {
      request.kind == "retry" ? retry(number) : discard(number);
      core.store.finish_request(request.id);
    });
  }
  if (next_retry_ms != 0 && core.now_ms() >= next_retry_ms && !core.sides().empty()) {
    in_transaction([&] { retry(0); });
    next_retry_ms = core.now_ms() + retry_every_ms;
  }
}

void Node::Impl::in_transaction(const std::function<void()>& work) {
  core.cut_alone();
  std::vector<const Table*> tables;
  for (auto& [id, table] : core.tables()) tables.push_back(&table);
  core.store.begin(TransactionKind::write, tables);
  if (core.store.log_must_be_read()) {
    core.store.rollback();
    throw Error(ErrorKind::transient, "busy", "local writers leave no gap; it will be tried again");
  }
  core.window.begin_changes();
  try {
    work();
    core.write_pending(applied_records({}, 0), core.state);
    core.store.commit();
  } catch (...) {
    core.store.rollback();
    core.window.undo_changes();
    throw;
  }
  core.window.keep_changes();
  core.written();
}

namespace {

Side* quarantined(Core& core, Entry& entry) {
  const Table* table = core.table(entry.table);
  Life* shown = table ? shown_life(entry.state, table->integer_key, core.state.truncated(table->id)) : nullptr;
  return shown && shown->side && shown->side->kind == SideKind::quarantined ? shown->side.get() : nullptr;
}

}  // namespace

void Node::Impl::retry(std::int64_t number) {
  std::vector<SideRow> rows = number == 0 ? std::vector<SideRow>() : core.store.load_side();
  std::vector<Entry*> entries(core.sides().begin(), core.sides().end());
  for (Entry* entry : entries) {
    bool asked = number == 0;
    for (const SideRow& row : rows) asked |= row.id == number && row.table == entry->table && row.key == *entry->key;
    if (asked && quarantined(core, *entry)) retry_entry(*entry);
  }
}

void Node::Impl::retry_entry(Entry& entry) {
  const Table& table = *core.table(entry.table);
  Side& side = *quarantined(core, entry);
  KeyView key = *entry.key;
  OwnedRow table_row;
  std::vector<FoundRow> found;
  core.store.find_rows(table, {&key, 1}, found);
  if (found[0].newer_than_log) throw Error(ErrorKind::transient, "raced", "the row is being changed here; it will be tried again");
  if (found[0].exists)
    core.store.read_rows(table, {&key, 1}, [&](std::size_t, KeyView, RowView row) {
      table_row = OwnedRow(row);
      return true;
    });
  auto desired = desired_row(table, entry.state, core.state.truncated(table.id), table_row.view());
  if (!desired) return;
  std::vector<ColumnType> types = side.types;
  if (types.size() != table.columns.size()) {
    types.clear();
    for (const Column& column : table.columns) types.push_back(column.type);
  }
  OwnedRow values{RowView(*desired)};
  ColumnSet columns = side.columns;
  RowWrite write{found[0].exists ? WriteKind::update : WriteKind::insert, key, found[0].handle, values.view(), &columns};
  std::vector<WriteResult> results;
  core.store.write_rows(table, types, {&write, 1}, results);
  core.window.touch(entry);
  Life* shown = shown_life(entry.state, table.integer_key, core.state.truncated(table.id));
  core.mark_side(entry);
  if (results[0].status == WriteResult::ok) {
    now_in_table(entry.state, table.integer_key, core.state.truncated(table.id));
    core.counters.applied++;
  } else if (results[0].status == WriteResult::raced) {
    throw Error(ErrorKind::transient, "raced", "the row is being changed here; it will be tried again");
  } else {
    shown->side->code = results[0].code;
    if (!results[0].reason.empty()) shown->side->reason = results[0].reason;
  }
}

void Node::Impl::discard(std::int64_t number) {
  for (const SideRow& row : core.store.load_side()) {
    Entry* entry = core.window.find(row.table, row.key);
    if (row.id == number && entry && quarantined(core, *entry)) discard_entry(*entry);
  }
}

// What is here becomes a new change, or a new delete: otherwise the servers would differ for ever (model, H7).
void Node::Impl::discard_entry(Entry& entry) {
  const Table& table = *core.table(entry.table);
  Side& side = *quarantined(core, entry);
  core.window.touch(entry);
  core.mark_side(entry);
  ColumnSet columns = side.columns;
  bool row_here = side.row_here;
  now_in_table(entry.state, table.integer_key, core.state.truncated(table.id));
  core.store.note_local(table, row_here ? LogOp::update : LogOp::remove, *entry.key, columns);
}

}  // namespace rowmesh
