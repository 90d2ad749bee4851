// What people asked for by SQL: retry and discard of quarantined rows; copies are begun here and go on in copying.cpp.
#include "shared/sync/node_impl.hpp"

namespace rowmesh {
namespace {
constexpr std::uint64_t retry_every_ms = 60000;
}

void Node::Impl::carry_out_requests() {
  for (const Request& request : core.store.requests()) {
    if (request.kind == "new_identity") {
      new_identity(request);
      return;
    }
    if (!stopped().empty()) continue;
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
  if (stopped().empty() && next_retry_ms != 0 && core.now_ms() >= next_retry_ms && !core.sides().empty()) {
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

Life* shown_of(Core& core, Entry& entry) {
  const Table* table = core.table(entry.table);
  return table ? shown_life(entry.state, table->integer_key, core.state.truncated(table->id)) : nullptr;
}

Side* side_of(Core& core, Entry& entry, SideKind kind) {
  Life* shown = shown_of(core, entry);
  return shown && shown->side && shown->side->kind == kind ? shown->side.get() : nullptr;
}

Side* quarantined(Core& core, Entry& entry) { return side_of(core, entry, SideKind::quarantined); }

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

// Rows whose turn has come by what was done here: younger lives under an integer key, and rows whose UNIQUE value was given up.
void Node::Impl::show_waiting() {
  if (!core.surfacing.empty())
    in_transaction([&] {
      EntrySet entries = core.surfacing;
      for (Entry* entry : entries)
        if (Life* shown = shown_of(core, *entry); shown && shown->side) retry_entry(*entry);
    });
  core.surfacing.clear();
  bool hidden = std::any_of(core.sides().begin(), core.sides().end(), [&](Entry* entry) {
    return core.recheck_hidden.contains(entry->table) && side_of(core, *entry, SideKind::hidden);
  });
  if (hidden)
    Applier(core).show_hidden();
  else
    core.recheck_hidden.clear();
}

void Node::Impl::retry_entry(Entry& entry) {
  const Table& table = *core.table(entry.table);
  Side& side = *shown_of(core, entry)->side;
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
  core.window.touch(entry);
  // The table has a younger life: from now on it waits.
  Version truncated = core.state.truncated(table.id);
  auto* in_the_way = const_cast<Life*>(held_in_table(entry.state, truncated));
  if (in_the_way) {
    if (!found[0].exists) throw Error(ErrorKind::transient, "raced", "the row is being changed here; it will be tried again");
    in_the_way->side->row_here = false;
    in_the_way->side->values = OwnedRow(table_row.view());
  }
  auto desired = desired_row(table, entry.state, core.state.truncated(table.id), table_row.view());
  if (!desired) return;
  std::vector<ColumnType> types = side.types;
  if (types.size() != table.columns.size()) {
    types.clear();
    for (const Column& column : table.columns) types.push_back(column.type);
  }
  OwnedRow values{RowView(*desired)};
  ColumnSet columns = side.columns;
  if (columns.is_all() && found[0].exists)
    for (std::size_t i = 0; i < table.columns.size(); i++) columns.add(static_cast<ColumnIndex>(i));
  RowWrite write{found[0].exists ? WriteKind::update : WriteKind::insert, key, found[0].handle, values.view(), &columns};
  std::vector<WriteResult> results;
  core.store.write_rows(table, types, {&write, 1}, results);
  Life* shown = shown_of(core, entry);
  core.mark_side(entry);
  if (results[0].status == WriteResult::ok) {
    now_in_table(entry.state, table.integer_key, core.state.truncated(table.id));
    core.counters.applied++;
  } else if (results[0].status == WriteResult::raced) {
    throw Error(ErrorKind::transient, "raced", "the row is being changed here; it will be tried again");
  } else if (results[0].status == WriteResult::unique) {
    if (in_the_way) remove_row(table, key, found[0].handle);
    shown->side->kind = SideKind::hidden;
    shown->side->code = "23505";
    shown->side->reason = hidden_reason;
    shown->side->columns = ColumnSet::all();
    shown->side->values = std::move(values);
    core.recheck_hidden.insert(table.id);
  } else {
    if (in_the_way) remove_row(table, key, found[0].handle);
    shown->side->kind = SideKind::quarantined;
    shown->side->row_here = found[0].exists && !in_the_way;
    shown->side->code = results[0].code;
    if (!results[0].reason.empty()) shown->side->reason = results[0].reason;
  }
}

void Node::Impl::remove_row(const Table& table, KeyView key, std::uint64_t handle) {
  RowWrite removal{WriteKind::remove, key, handle, {}, nullptr};
  std::vector<WriteResult> results;
  core.store.write_rows(table, {}, {&removal, 1}, results);
  if (results[0].status != WriteResult::ok) throw Error(ErrorKind::transient, "raced", "the row is being changed here; it will be tried again");
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
