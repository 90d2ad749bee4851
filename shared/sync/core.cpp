// Configuration, the cut, forgetting. What a local change does is in core_fold.cpp, what a restart needs in
// core_history.cpp.
#include "shared/sync/core.hpp"

#include <algorithm>
#include <utility>

#include "shared/codec/packed.hpp"
#include "shared/model/limits.hpp"
#include "shared/model/memory.hpp"

namespace rowmesh {
namespace {
constexpr std::size_t trim_after_entries = 50000;
constexpr std::int64_t idle_records = 20;  // of the history: so many may be there that nobody needs
constexpr std::size_t kept_given = 4096;
}  // namespace

void Core::load_config() {
  identity = store.identity();
  tables_.clear();
  by_wire_name_.clear();
  for (Table& table : store.tables()) {
    by_wire_name_[table.wire_name] = table.id;
    tables_[table.id] = std::move(table);
  }
  if (state.self != identity.origin && state.self != 0 && loaded_) return;  // renew() comes first
  state.self = identity.origin;
  Member& self = state.members[identity.origin];
  self.node = identity.node;
  self.name = identity.name;
  self.left = false;
}

const Table* Core::table(TableId id) const {
  auto at = tables_.find(id);
  return at == tables_.end() ? nullptr : &at->second;
}

const Table* Core::table_by_wire_name(const std::string& name) const {
  auto at = by_wire_name_.find(name);
  return at == by_wire_name_.end() ? nullptr : table(at->second);
}

OwnedRow Core::row_of(const Table& table, KeyView key) {
  OwnedRow found;
  store.read_rows(table, {&key, 1}, [&](std::size_t, KeyView, RowView row) {
    found = OwnedRow(row);
    return true;
  });
  return found;
}

bool Core::cut(bool force) {
  Batch batch;
  touched_sides_.clear();
  given_anew_.clear();
  cutting_ = true;
  LogRead read = store.read_log([&](const LogEntry& entry) { fold(entry, batch); });
  cutting_ = false;
  if (std::exchange(just_started_, false) && state.found)
    state.found->unread = std::max(state.found->unread, batch.newest);
  // Not beyond what is on disk, the promise or a version in the log: a crash may take the clock back to it, and what
  // was committed before the crash and is read after it (SQLite gives versions when it reads) would be older than what
  // was announced.
  watermark = std::max(watermark, std::min(read.watermark, std::max(state.hlc, batch.newest)));
  last_cut_ms = now_ms();
  if (!read.any && !force) return false;
  window.keep_once(batch.entries);
  announced_ms = last_cut_ms;

  Position& position = state.applied[state.self];
  position.number = std::max(position.number + 1, first_number_);
  position.tag = services.random.next();
  OriginMeta& meta = state.own_meta();
  meta.position = position.number;
  meta.watermark = watermark;
  meta.newest = std::max(meta.newest, batch.newest);
  given_[position.number] = {position.tag, meta.newest};
  if (given_.size() > kept_given) given_.erase(given_.begin());
  // A server that was never met confirmed nothing, and is not among the members yet.
  // While the changes of a table wait, nothing more is confirmed: what it lacks must not be forgotten anywhere.
  if (!hold_prune && !takes_copy && !lacks_changes() && !state.awaits_what_was_closed() && !state.hears_two_histories())
    meta.horizon = std::max(meta.horizon, std::min(state.horizon(watermark), horizon_limit));
  meta.received = received();
  // Who has not handed on yet what it has of an earlier incarnation has not heard of the one that followed.
  for (auto& [origin, member] : state.members)
    if (state.closed(origin) && !handed_on_again.contains(origin))
      std::erase_if(meta.received, [&, &member = member](auto& one) {
        auto other = state.members.find(one.first);
        return other != state.members.end() && other->second.node == member.node && !other->second.left;
      });

  PackedWriter data;
  data.number(0);
  data.number(position.number);
  data.fixed64(position.tag);
  data.fixed64(batch.newest);
  data.fixed64(state.self);
  for (auto& [given, anew] : given_anew_) data.fixed64(given), data.fixed64(anew);
  batch.ends = {{state.self, position.number}};
  Batch* added = nullptr;
  if (batch.newest != 0) {
    window.add_batch(std::move(batch));
    added = window.newest_batch();
  }
  HistoryRecord record;
  record.kind = HistoryKind::cut;
  record.marker = read.marker;
  record.data = data.take();
  pending_.push_back({std::move(record), added});
  refresh_side_values();
  return true;
}

bool Core::of_earlier_run(const Position& position) const {
  return position.tag != 0 && !given_.empty() && position.number < given_.begin()->first;
}

PositionNumber Core::before_what_is_newer(Hlc version) {
  PositionNumber before = ~PositionNumber{0};
  for (const Batch& batch : window.batches())
    if (batch.ends.size() == 1 && batch.ends[0].first == state.self && batch.newest > version)
      before = std::min(before, batch.ends[0].second - 1);
  return before;
}

bool Core::gave(const Position& position) const {
  if (position.tag == 0 || given_.empty() || of_earlier_run(position)) return true;
  auto at = given_.find(position.number);
  return at != given_.end() && at->second.tag == position.tag;
}

void Core::note_confirmed(const Vector& applied) {
  auto own = applied.find(state.self);
  auto at = own == applied.end() ? given_.end() : given_.find(own->second.number);
  if (at == given_.end() || at->second.tag != own->second.tag) return;
  if (state.found || state.confirmed < at->second.newest) confirmed_since_found(at->second.newest);
}

std::map<Origin, Hlc> Core::received() {
  std::map<Origin, Hlc> received;
  if (lacks_changes()) received = state.own_meta().received;
  for (auto& [origin, other] : state.metas) {
    // What stands there of one that has not spoken yet is where we stood when it was met (Node::Impl::met).
    bool spoke = other.position != 0 && !lacks_changes();
    if (origin != state.self) received.try_emplace(origin, spoke ? other.watermark : 0);
  }
  return received;
}

Hlc Core::promise(Hlc clock) const {
  return std::max(clock, ms_to_hlc(services.wall.now_ms() + limits::promised_ahead_ms));
}

void Core::secure_numbers() {
  if (numbers_secured_) return;
  cut_alone(true);
  write_alone();
  cut_alone(true);  // the watermark goes as far as was promised with it
  numbers_secured_ = true;
}

// Symptom: a row stood under two numbers after a clock had been set right. Mechanism: a server had got it from here
// just before a crash, which lost that it had ever been met; so nobody asked what it has, and the row was given anew.
// Mend: who gets anything is known as met on the disk.
void Core::note_joined() {
  if (state.own_meta().newest == 0) return;
  auto met = state.met_servers();
  bool known = std::includes(met_on_disk_.begin(), met_on_disk_.end(), met.begin(), met.end());
  if (state.joined && known && state.copied_up_to <= copied_on_disk_) return;
  if (pending_.empty()) pending_.push_back({applied_records({}, 0).front(), nullptr});
  bool joined = std::exchange(state.joined, true);
  try {
    write_alone();
  } catch (...) {
    state.joined = joined;
    throw;
  }
}

// What is read waits in memory for its record. Where those cannot be written, nothing more is read for an apply or a
// request, which could not be written either.
bool Core::cut_alone(bool force) {
  if (unwritten() >= limits::unwritten_positions) write_alone();
  StoreTransaction transaction(store, TransactionKind::read);
  bool moved = cut(force);
  transaction.commit();
  return moved;
}

void Core::write_alone() {
  StoreTransaction transaction(store, TransactionKind::write);
  write_pending({}, state);
  transaction.commit();
  written();
}

// What is settled has come, or was deleted before it came; unless its table waits.
void Core::forget_awaited() {
  std::erase_if(awaited_moves, [&](const auto& awaited) {
    return awaited.first.birth.hlc <= state.prune_horizon && !waits(awaited.first.table);
  });
  for (auto& [to, before] : moved_rows)
    std::erase_if(before, [&, &to = to](const Key& key) {
      const Entry* entry = window.find(to.first, key);
      return !entry || std::none_of(entry->state.lives.begin(), entry->state.lives.end(),
                                    [&](const Life& life) { return life.moved && life.moved->to_key == to.second; });
    });
  std::erase_if(moved_rows, [](const auto& moved) { return moved.second.empty(); });
}

bool Core::waits(TableId id) const {
  auto table = tables_.find(id);
  if (state.parked.empty() || table == tables_.end()) return false;
  auto parked = state.parked.find(table->second.wire_name);
  return parked != state.parked.end() && !parked->second.given_up;
}

// Changes that are still to come, and that others must keep for us.
bool Core::lacks_changes() const {
  auto waits = [](auto& one) { return !one.second.given_up; };
  return copies_waiting_table || std::any_of(state.parked.begin(), state.parked.end(), waits);
}

// Symptom: a reference named another row than its writer had meant. Mechanism: the row had moved, but its table waited
// here, and G passed the note of what the reference means (Life::meant) before the move was heard of. Mend: such notes
// are kept until the table has caught up, or until there is no room for more. And what others have said of theirs.
// Symptom: as above. Mechanism: whoever would have moved the row was gone, and its heir, which had just heard of that,
// announced that it was held back by nobody before it had moved the row itself; so G passed the note first. Mend: the
// note is kept as long as the row waits to be moved.
bool Core::notes_wait(const Batch& batch) {
  if (window.size() > most_rows) return false;
  bool lacks = lacks_changes();
  return std::any_of(batch.entries.begin(), batch.entries.end(), [&](const Entry* entry) {
    auto child = tables_.find(entry->table);
    if (child == tables_.end()) return false;
    return std::any_of(entry->state.lives.begin(), entry->state.lives.end(), [&](const Life& life) {
      auto of_waiting = [&](const Meant& meant) {
        auto& references = child->second.references;
        return std::any_of(references.begin(), references.end(), [&](auto& reference) {
          return reference.column == meant.column &&
                 ((lacks && waits(reference.to)) || waits_to_be_moved(reference.to, meant));
        });
      };
      return std::any_of(life.meant.begin(), life.meant.end(), of_waiting) ||
             std::any_of(life.told.begin(), life.told.end(), of_waiting);
    });
  });
}

bool Core::waits_to_be_moved(TableId id, const Meant& meant) {
  auto table = tables_.find(id);
  if (table == tables_.end() || !table->second.integer_key || table->second.on_key_collision != KeyCollision::renumber)
    return false;
  Row number = {Value::of_integer(meant.number)};
  const Entry* entry = window.find(id, encode_key(number));
  const Life* life = entry ? entry->state.find(meant.birth) : nullptr;
  Version truncated = state.truncated(id);
  return life && !life->dead(truncated) && shown_life(entry->state, true, truncated) != life;
}

// Of a table of which a truncate is kept that G is past: a row without a birth counts as older than it.
bool Core::truncate_waits(const Batch& batch) const {
  return std::any_of(batch.entries.begin(), batch.entries.end(), [&](const Entry* entry) {
    return state.late_truncates.contains(entry->table) && state.truncates.contains(entry->table);
  });
}

void Core::prune() {
  if (hold_prune || takes_copy) return;
  state.advance_prune_horizon();
  for (auto at = state.truncates.begin(); at != state.truncates.end();) {
    auto late = state.late_truncates.find(at->first);
    Hlc until = std::max(at->second.hlc, late == state.late_truncates.end() ? 0 : late->second);
    if (until > state.prune_horizon) {
      ++at;
      continue;
    }
    if (late != state.late_truncates.end()) state.late_truncates.erase(late);
    window.drop_born_before(at->first, at->second);
    at = state.truncates.erase(at);
  }
  if (!window.unsettled() || window.batches().front().newest > state.prune_horizon) return prune_history(idle_records);
  forget_awaited();
  std::size_t before = window.size();
  window.prune(state.prune_horizon, state.pruned,
               [&](const Batch& batch) { return notes_wait(batch) || truncate_waits(batch); });
  // What a big transaction took is given back to the system, not kept for the next one.
  forgotten_ += before - window.size();
  if (forgotten_ >= trim_after_entries) {
    give_back_free_memory();
    forgotten_ = 0;
  }
  prune_history(0);
}

// Also where nothing here is settled: heartbeats for what others wait for leave records as well. Symptom: while a
// server was away, the history of those which had nothing unsettled themselves grew by a record each second.
void Core::prune_history(std::int64_t at_least) {
  std::int64_t keep_from = last_sequence_ + 1;
  for (Batch& batch : window.batches())
    if (batch.sequence != 0) {
      keep_from = std::min(keep_from, batch.sequence);
      break;
    }
  if (keep_from - 1 < pruned_to_ + at_least) return;
  pruned_to_ = prune_to_ = keep_from - 1;
  prune_needs_ = state.prune_horizon;
  if (pending_.empty()) pending_.push_back({applied_records({}, 0).front(), nullptr});
}

}  // namespace rowmesh
