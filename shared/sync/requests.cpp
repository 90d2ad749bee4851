// What people asked for by SQL: retry and discard of quarantined rows; copies are begun here and go on in copying.cpp.
#include <algorithm>

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
    if (request.kind == "copy" || request.kind == "verify" || request.kind == "repair") {
      begin_copy(request);
      continue;
    }
    if (request.kind == "restore") {
      restore(request);
      continue;
    }
    if (request.kind != "retry" && request.kind != "discard") continue;
    EntrySet entries = quarantined(std::atoll(request.argument.c_str()));
    Applier applier(core);
    applier.reconcile(entries, [&] {
      if (request.kind == "discard")
        for (Entry* entry : entries) applier.discard(*entry);
      core.store.finish_request(request.id);
    });
  }
  if (stopped().empty() && next_retry_ms != 0 && core.now_ms() >= next_retry_ms && !core.sides().empty()) {
    if (EntrySet entries = quarantined(0); !entries.empty()) Applier(core).reconcile(entries);
    next_retry_ms = core.now_ms() + retry_every_ms;
  }
}

// Symptom: a row that a new server had copied did not come to others through it, though it said that they had it all.
// Mechanism: the end of the copy was not committed (40001, a full disk), but what it had set in memory stayed; when the
// copy ended again all positions were there, so its rows were handed on to nobody. Mend: what is not committed is not
// said either. So of a table that is given up: once the others have heard of it they forget what a restart would still
// wait for.
void Node::Impl::in_transaction(const std::function<void()>& work, Batch* with) {
  core.cut_alone();
  std::vector<const Table*> tables;
  for (auto& [id, table] : core.tables()) tables.push_back(&table);
  core.store.begin(TransactionKind::write, tables);
  if (core.store.log_must_be_read()) {
    core.store.rollback();
    throw Error(ErrorKind::transient, "busy", "local writers leave no gap; it will be tried again");
  }
  core.window.begin_changes();
  NodeState before = core.state;
  try {
    work();
    core.write_pending(applied_records(with ? *with : Batch{}, 0), core.state);
    core.store.commit();
  } catch (...) {
    core.store.rollback();
    core.window.undo_changes();
    core.state = std::move(before);
    throw;
  }
  core.window.keep_changes();
  if (with && (with->newest != 0 || !with->entries.empty())) {
    with->sequence = core.more_written();
    core.window.add_batch(std::move(*with));
  }
  core.written();
}

namespace {
bool waits(const Entry& entry, SideKind kind) {
  return std::any_of(entry.state.lives.begin(), entry.state.lives.end(),
                     [&](const Life& life) { return life.side && life.side->kind == kind; });
}
}  // namespace

EntrySet Node::Impl::quarantined(std::int64_t number) {
  std::vector<SideRow> rows = number == 0 ? std::vector<SideRow>() : core.store.load_side();
  EntrySet entries;
  for (Entry* entry : core.sides()) {
    bool asked = number == 0;
    for (const SideRow& row : rows) asked |= row.id == number && row.table == entry->table && row.key == *entry->key;
    if (asked && waits(*entry, SideKind::quarantined)) entries.insert(entry);
  }
  return entries;
}

// What local changes left to be done: rows whose turn has come, whose UNIQUE value was given up, or which must give
// way.
void Node::Impl::reconcile() {
  bool hidden = std::any_of(core.sides().begin(), core.sides().end(), [&](Entry* entry) {
    return core.recheck_hidden.contains(entry->table) &&
           (waits(*entry, SideKind::hidden) || waits(*entry, SideKind::quarantined) || waits(*entry, SideKind::held));
  });
  EntrySet entries = core.unreconciled;
  if (hidden || !entries.empty())
    Applier(core).reconcile(entries);
  else
    core.recheck_hidden.clear();
}

}  // namespace rowmesh
