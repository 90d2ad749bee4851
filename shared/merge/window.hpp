// The unsettled window: for every key that somebody may not have heard of yet, its lives and versions; and, per origin, which
// keys each position touched. In memory, rebuilt from the history at start. An untouched row costs nothing.
//
// One thread. Entries stay at their address until they are pruned.
#pragma once
#include <array>
#include <deque>
#include <functional>
#include <list>
#include <map>
#include <memory>
#include <unordered_map>
#include <vector>

#include "shared/merge/row_state.hpp"

namespace rowmesh {

struct Entry {
  TableId table = 0;
  const Key* key = nullptr;
  RowState state;                // lives empty: just made, nothing known
  std::uint32_t references = 0;  // batches that name it
  std::uint32_t mark = 0;        // of the last gathering that met it
  bool side_stored = false;      // the side table has a row of it
};

// The keys of one step of this node's history: a cut of its own log, or a document applied.
struct Batch {
  std::vector<std::pair<Origin, PositionNumber>> ends;  // the position of each origin that it leads up to
  Hlc newest = 0;               // no version in it is newer; a relayed batch counts as of the watermark it came with
  std::int64_t sequence = 0;    // no history record of it has a lower one; 0: not written yet
  std::vector<Entry*> entries;  // each once
};

class Window {
 public:
  Entry* find(TableId table, KeyView key);
  Entry& get(TableId table, KeyView key);  // makes it if it is not there

  // What changes after begin_changes can be taken back as a whole. touch() before an entry is changed.
  void begin_changes();
  void touch(Entry& entry);
  void keep_changes();
  void undo_changes();
  bool changing() const { return changing_; }

  void add_batch(Batch batch);  // takes a reference on each entry
  // Keys of all positions of `origins` after `from` (origin -> position), each once; sorted by table and key.
  std::vector<Entry*> gather(const std::map<Origin, PositionNumber>& from);
  std::size_t count_after(Origin origin, PositionNumber from) const;  // changes, not keys: for queue lengths
  Hlc oldest_after(Origin origin, PositionNumber from) const;         // `newest` of the first such batch; 0: none
  Hlc newest_after(const std::map<Origin, PositionNumber>& from) const;  // of all that gather() looks at; 0: nothing

  // Forgets what is settled below G (model 1.5). Reports per origin how far its log is gone now.
  void prune(Hlc horizon, std::map<Origin, PositionNumber>& pruned);
  // T of this table is settled: the lives that it killed go.
  void drop_born_before(TableId table, Version truncated);
  // The same while the history is loaded: entries stay, though empty, and those for which `skip` holds as they are.
  void drop_born_before(TableId table, Version truncated, const std::function<bool(const Entry&)>& skip);
  void forget_if_empty(Entry& entry);

  void for_each(TableId table, const std::function<void(Entry&)>& visit);
  std::size_t size() const { return size_; }
  bool unsettled() const { return !batches_.empty(); }
  Batch* newest_batch() { return batches_.empty() ? nullptr : &batches_.back(); }
  std::list<Batch>& batches() { return batches_; }
  std::function<void(Entry&)> on_side_change;  // lives of an entry were forgotten that the side table still has
  std::function<void(Entry&)> on_erase;  // whoever keeps pointers to entries must let go of this one

 private:
  struct KeyHash {
    using is_transparent = void;
    std::size_t operator()(KeyView key) const { return std::hash<KeyView>{}(key); }
  };
  using Map = std::unordered_map<Key, Entry, KeyHash, std::equal_to<>>;
  // Many small maps that grow one by one: one big one stalls for 0.2 s and more when it doubles.
  struct TableMap {
    std::array<Map, 64> shards;
  };
  Map& shard(TableId table, KeyView key);
  void settle(Entry& entry, Hlc horizon);
  void erase(Entry& entry);

  std::map<TableId, std::unique_ptr<TableMap>> tables_;
  std::list<Batch> batches_;  // in the order of this node's history
  std::map<Origin, std::deque<Batch*>> by_origin_;
  std::size_t size_ = 0;
  std::uint32_t mark_ = 0;

  bool changing_ = false;  // between begin_changes and keep_changes or undo_changes
  struct Saved {
    Entry* entry;
    RowState before;
    bool added;
  };
  std::vector<Saved> saved_;
};

}  // namespace rowmesh
