#include "shared/merge/window.hpp"

#include <algorithm>

namespace rowmesh {

Window::Map& Window::shard(TableId table, KeyView key) {
  auto& map = tables_[table];
  if (!map) map = std::make_unique<TableMap>();
  std::size_t hash = KeyHash{}(key);
  return map->shards[(hash ^ (hash >> 32)) >> 4 & 63];
}

Entry* Window::find(TableId table, KeyView key) {
  Map& map = shard(table, key);
  auto at = map.find(key);
  return at == map.end() ? nullptr : &at->second;
}

Entry& Window::get(TableId table, KeyView key) {
  Map& map = shard(table, key);
  auto at = map.find(key);
  if (at != map.end()) return at->second;
  at = map.try_emplace(Key(key)).first;
  at->second.table = table;
  at->second.key = &at->first;
  size_++;
  if (changing_) saved_.push_back({&at->second, {}, true});
  return at->second;
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

void Window::add_batch(Batch batch) {
  for (Entry* entry : batch.entries) entry->references++;
  batches_.push_back(std::move(batch));
  for (auto& [origin, position] : batches_.back().ends) by_origin_[origin].push_back(&batches_.back());
}

namespace {
PositionNumber end_of(const Batch& batch, Origin origin) {
  for (auto& [end_origin, position] : batch.ends)
    if (end_origin == origin) return position;
  return 0;
}
}  // namespace

std::vector<Entry*> Window::gather(const std::map<Origin, PositionNumber>& from) {
  mark_++;
  std::vector<Entry*> entries;
  for (auto& [origin, position] : from) {
    auto batches = by_origin_.find(origin);
    if (batches == by_origin_.end()) continue;
    for (auto batch = batches->second.rbegin(); batch != batches->second.rend(); ++batch) {
      if (end_of(**batch, origin) <= position) break;
      for (Entry* entry : (*batch)->entries) {
        if (entry->mark == mark_) continue;
        entry->mark = mark_;
        entries.push_back(entry);
      }
    }
  }
  auto before = [](const Entry* left, const Entry* right) {
    return left->table != right->table ? left->table < right->table : *left->key < *right->key;
  };
  if (!std::is_sorted(entries.begin(), entries.end(), before)) std::sort(entries.begin(), entries.end(), before);
  return entries;
}

std::size_t Window::count_after(Origin origin, PositionNumber from) const {
  std::size_t count = 0;
  auto batches = by_origin_.find(origin);
  if (batches == by_origin_.end()) return 0;
  for (auto batch = batches->second.rbegin(); batch != batches->second.rend() && end_of(**batch, origin) > from; ++batch)
    count += (*batch)->entries.size();
  return count;
}

Hlc Window::oldest_after(Origin origin, PositionNumber from) const {
  Hlc oldest = 0;
  auto batches = by_origin_.find(origin);
  if (batches == by_origin_.end()) return 0;
  for (auto batch = batches->second.rbegin(); batch != batches->second.rend() && end_of(**batch, origin) > from; ++batch)
    oldest = (*batch)->newest;
  return oldest;
}

Hlc Window::newest_after(const std::map<Origin, PositionNumber>& from) const {
  Hlc newest = 0;
  for (auto& [origin, position] : from) {
    auto batches = by_origin_.find(origin);
    if (batches == by_origin_.end()) continue;
    for (auto batch = batches->second.rbegin(); batch != batches->second.rend() && end_of(**batch, origin) > position; ++batch)
      newest = std::max(newest, (*batch)->newest);
  }
  return newest;
}

void Window::prune(Hlc horizon, std::map<Origin, PositionNumber>& pruned) {
  while (!batches_.empty() && batches_.front().newest <= horizon) {
    Batch& batch = batches_.front();
    for (auto& [origin, position] : batch.ends) {
      by_origin_[origin].pop_front();
      if (by_origin_[origin].empty()) by_origin_.erase(origin);
      pruned[origin] = std::max(pruned[origin], position);
    }
    for (Entry* entry : batch.entries) {
      entry->references--;
      settle(*entry, horizon);
    }
    batches_.pop_front();
  }
}

void Window::settle(Entry& entry, Hlc horizon) {
  auto old = [horizon](Version version) { return version.hlc <= horizon; };
  auto& lives = entry.state.lives;
  // A key that is hidden, held, quarantined or has several lives keeps what it has, except for lives that everybody buried.
  bool some = std::erase_if(lives, [&](const Life& life) { return !life.death().settled() && old(life.death()); }) > 0;
  if (some && entry.side_stored && on_side_change) on_side_change(entry);
  if (lives.size() == 1 && lives.front().death().settled() && !lives.front().side) {
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
  Map& map = shard(entry.table, *entry.key);
  map.erase(map.find(*entry.key));
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
    if (!skip(entry)) std::erase_if(entry.state.lives, [&](const Life& life) { return life.birth < truncated; });
  });
}

void Window::for_each(TableId table, const std::function<void(Entry&)>& visit) {
  auto map = tables_.find(table);
  if (map == tables_.end()) return;
  for (Map& shard : map->second->shards)
    for (auto& [key, entry] : shard) visit(entry);
}

}  // namespace rowmesh
