#include "shared/merge/window.hpp"

#include <algorithm>

namespace rowmesh {

Entry* Window::find(TableId table, KeyView key) {
  auto at = tables_.find(table);
  return at == tables_.end() ? nullptr : at->second.find(key);
}

Entry& Window::get(TableId table, KeyView key) {
  bool made;
  Entry& entry = tables_[table].get(table, key, made);
  if (made) size_++;
  if (made && changing_) saved_.push_back({&entry, {}, true});
  return entry;
}

Entry& Window::edit(TableId table, KeyView key) {
  std::size_t before = size_;
  Entry& entry = get(table, key);
  if (size_ == before) touch(entry);  // else undo_changes() takes it out again
  return entry;
}

void Window::begin_changes() {
  changing_ = true;
  saved_.clear();
}

void Window::touch(Entry& entry) {
  if (changing_) saved_.push_back({&entry, entry.state, false});
}

void Window::keep_changes() {
  changing_ = false;
  saved_.clear();
}

void Window::undo_changes() {
  changing_ = false;
  // Backwards, so that of several copies of one entry the oldest is the last to be put back.
  for (auto saved = saved_.rbegin(); saved != saved_.rend(); ++saved) {
    if (saved->added)
      erase(*saved->entry);
    else
      saved->entry->state = std::move(saved->before);
  }
  saved_.clear();
}

void Window::keep_once(std::vector<Entry*>& entries) {
  mark_++;
  std::erase_if(entries, [this](Entry* entry) {
    bool again = entry->mark == mark_;
    entry->mark = mark_;
    return again;
  });
}

void Window::add_batch(Batch batch) {
  for (Entry* entry : batch.entries) entry->references++;
  newest_ = std::max(newest(), batch.newest);
  if (batch.late) late_until_ = std::max(late_until_, batch.newest);
  batches_.push_back(std::move(batch));
  index(batches_.back());
}

void Window::index(Batch& added) {
  for (auto& [origin, position] : added.ends) {
    OfOrigin& of = by_origin_[origin];
    of.batches.push_back({position, &added, of.changes});
    of.changes += added.entries.size();
  }
}

// Found by halving: a server that was away for hours has millions of them before it, and is asked about ten times a
// second.
std::pair<Window::EndedAt, Window::EndedAt> Window::after(Origin origin, PositionNumber from) const {
  auto of = by_origin_.find(origin);
  if (of == by_origin_.end()) return {};
  auto& batches = of->second.batches;
  auto first = std::upper_bound(batches.begin(), batches.end(), from,
                                [](PositionNumber wanted, const Ended& ended) { return wanted < ended.end; });
  return {first, batches.end()};
}

std::vector<Entry*> Window::gather(const std::map<Origin, PositionNumber>& from) {
  mark_++;
  std::vector<Entry*> entries;
  for (auto& [origin, position] : from) {
    auto [first, end] = after(origin, position);
    for (auto ended = first; ended != end; ++ended)
      for (Entry* entry : ended->batch->entries) {
        if (entry->mark == mark_) continue;
        entry->mark = mark_;
        entries.push_back(entry);
      }
  }
  auto before = [](const Entry* left, const Entry* right) {
    return left->table != right->table ? left->table < right->table : *left->key < *right->key;
  };
  if (!std::is_sorted(entries.begin(), entries.end(), before)) std::sort(entries.begin(), entries.end(), before);
  return entries;
}

std::size_t Window::count_after(Origin origin, PositionNumber from) const {
  auto [first, end] = after(origin, from);
  return first == end ? 0 : by_origin_.at(origin).changes - first->changes_before;
}

Hlc Window::oldest_after(Origin origin, PositionNumber from) const {
  auto [first, end] = after(origin, from);
  return first == end ? 0 : first->batch->newest;
}

Hlc Window::newest_after(const std::map<Origin, PositionNumber>& from) const {
  Hlc newest = 0;
  for (auto& [origin, position] : from) {
    auto [first, end] = after(origin, position);
    for (auto ended = first; ended != end; ++ended) newest = std::max(newest, ended->batch->newest);
  }
  return newest;
}

void Window::prune(Hlc horizon, std::map<Origin, PositionNumber>& pruned, const std::function<bool(const Batch&)>& keep,
                   const std::function<bool(const Entry&)>& skip) {
  while (!batches_.empty() && batches_.front().newest <= horizon && !(keep && keep(batches_.front()))) {
    Batch& batch = batches_.front();
    for (auto& [origin, position] : batch.ends) {
      auto of = by_origin_.find(origin);
      of->second.batches.pop_front();
      if (of->second.batches.empty()) by_origin_.erase(of);
      pruned[origin] = std::max(pruned[origin], position);
    }
    for (Entry* entry : batch.entries) {
      entry->references--;
      // What came late is below the horizon already, and still to be handed on with the batch that it came in.
      if (entry->references > 0 && entry->state.lives.size() > 1 && on_begin_lost) on_begin_lost(*entry);
      if ((entry->references == 0 || late_until_ <= horizon) && !(skip && skip(*entry))) settle(*entry, horizon);
    }
    batches_.pop_front();
  }
}

void Window::settle(Entry& entry, Hlc horizon) {
  auto old = [horizon](Version version) { return version.hlc <= horizon; };
  auto& lives = entry.state.lives;
  for (Life& life : lives) {
    std::erase_if(life.meant, [&](const Meant& meant) { return meant.since <= horizon; });
    std::erase_if(life.told, [&](const Told& told) { return told.since <= horizon || !told.holds(life.columns); });
  }
  // A key that is hidden, held, quarantined or has several lives keeps what it has, except for lives that everybody
  // buried.
  bool some = std::erase_if(lives, [&](const Life& life) {
                return !life.death().settled() && old(life.death()) && !life.in_table;
              }) > 0;
  if (some && entry.side_stored && on_side_change) on_side_change(entry);
  if (lives.size() == 1 && lives.front().death().settled() && !lives.front().side && lives.front().meant.empty() &&
      lives.front().told.empty() && !lives.front().contested) {
    Life& life = lives.front();
    if (old(life.columns.base) && !life.columns.base.settled()) {
      ColumnVersions columns;
      for (auto& [column, version] : life.columns.changed)
        if (!old(version)) columns.set(column, version);
      life.columns = std::move(columns);
    } else {
      auto& changed = life.columns.changed;
      if (life.columns.base.settled())
        std::erase_if(changed, [&](auto& column) { return old(column.second); });
      else
        for (auto& [column, version] : changed)
          if (old(version)) version = {};
    }
    if (old(life.birth)) life.birth = {};
  }
  forget_if_empty(entry);
}

void Window::forget_if_empty(Entry& entry) {
  if (entry.references > 0 || entry.side_stored) return;
  auto& lives = entry.state.lives;
  bool settled = lives.empty() || (lives.size() == 1 && !lives.front().side && lives.front().newest().settled());
  if (settled) erase(entry);
}

void Window::erase(Entry& entry) {
  if (on_erase) on_erase(entry);
  tables_[entry.table].erase(entry);
  size_--;
}

void Window::drop_born_before(TableId table, Version truncated) {
  std::vector<Entry*> entries;
  for_each(table, [&](Entry& entry) { entries.push_back(&entry); });
  for (Entry* entry : entries) {
    bool some = std::erase_if(entry->state.lives, [&](const Life& life) { return life.birth < truncated; }) > 0;
    if (some && entry->side_stored && on_side_change) on_side_change(*entry);
    forget_if_empty(*entry);
  }
}

void Window::drop_born_before(TableId table, Version truncated, const std::function<bool(const Entry&)>& skip) {
  for_each(table, [&](Entry& entry) {
    if (skip(entry)) return;
    // A row of which the history has forgotten the birth: the truncate took those that it killed out of the table, and
    // who deleted it after the truncate had seen it live on.
    std::erase_if(entry.state.lives, [&](const Life& life) {
      bool outlived = life.birth.settled() && (life.in_table || life.death() > truncated);
      return life.birth < truncated && !outlived;
    });
  });
}

void Window::rename_batches(Origin before, Hlc fork, PositionNumber reached, Origin after,
                            const std::function<Hlc(Hlc)>& moved) {
  for (Batch& batch : batches_) {
    if (batch.ends.size() == 1 && batch.ends[0].first == before &&
        (batch.newest > fork || batch.ends[0].second > reached))
      batch.ends = {{after, renamed_position}};
    batch.newest = moved(batch.newest);  // what came from others counts as of our versions where it met them
  }
  by_origin_.clear();
  newest_ = 0;
  for (Batch& batch : batches_) {
    index(batch);
    newest_ = std::max(newest_, batch.newest);
  }
}

void Window::for_each(TableId table, const std::function<void(Entry&)>& visit) {
  auto at = tables_.find(table);
  if (at != tables_.end()) at->second.for_each(visit);
}

}  // namespace rowmesh
