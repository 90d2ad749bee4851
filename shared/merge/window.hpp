// The unsettled window: for every key that somebody may not have heard of yet, its lives and versions; and, per origin,
// which keys each position touched. In memory, rebuilt from the history at start. An untouched row costs nothing.
//
// One thread. Entries stay at their address until they are pruned.
#pragma once
#include <deque>
#include <functional>
#include <list>
#include <map>
#include <memory>
#include <vector>

#include "shared/merge/entry_table.hpp"

namespace rowmesh {

// The keys of one step of this node's history: a cut of its own log, or a document applied.
struct Batch {
  // The position of each origin that it leads up to; never lower than that of an earlier batch.
  std::vector<std::pair<Origin, PositionNumber>> ends;
  Hlc newest = 0;               // no version in it is newer; a relayed batch counts as of the watermark it came with
  bool late = false;            // it has versions that G had passed before they came (not stored: take_all_for_late)
  std::int64_t sequence = 0;    // no history record of it has a lower one; 0: not written yet
  std::vector<Entry*> entries;  // each once
};

class Window {
 public:
  Entry* find(TableId table, KeyView key);
  Entry& get(TableId table, KeyView key);   // makes it if it is not there
  Entry& edit(TableId table, KeyView key);  // get() and touch()

  // What changes after begin_changes can be taken back as a whole. touch() before an entry is changed.
  void begin_changes();
  void touch(Entry& entry);
  void keep_changes();
  void undo_changes();
  bool changing() const { return changing_; }

  void keep_once(std::vector<Entry*>& entries);  // their order stays
  void add_batch(Batch batch);                   // takes a reference on each entry
  // Keys of all positions of `origins` after `from` (origin -> position), each once; sorted by table and key.
  std::vector<Entry*> gather(const std::map<Origin, PositionNumber>& from);
  std::size_t count_after(Origin origin, PositionNumber from) const;     // changes, not keys: for queue lengths
  Hlc oldest_after(Origin origin, PositionNumber from) const;            // `newest` of the first such batch; 0: none
  Hlc newest_after(const std::map<Origin, PositionNumber>& from) const;  // of all that gather() looks at; 0: nothing

  // Forgets what is settled below G (model 1.5). Reports per origin how far its log is gone now.
  // `keep`: true for a batch that somebody still needs; it stays, and so do those that came after it. `skip`: the entry
  // has forgotten it already.
  void prune(Hlc horizon, std::map<Origin, PositionNumber>& pruned,
             const std::function<bool(const Batch&)>& keep = nullptr,
             const std::function<bool(const Entry&)>& skip = nullptr);
  // T of this table is settled: the lives that it killed go.
  void drop_born_before(TableId table, Version truncated);
  // The same while the history is loaded: entries stay, though empty, and those for which `skip` holds as they are.
  void drop_born_before(TableId table, Version truncated, const std::function<bool(const Entry&)>& skip);
  void forget_if_empty(Entry& entry);
  // After a start, when the history is read: nothing in it says which batches were late.
  void take_all_for_late() { late_until_ = std::max(late_until_, newest()); }
  // Own batches of `before` with something newer than `fork`, or after position `reached`, become `after`'s, all with
  // this one position; `moved`: what becomes of the newest version of any batch. The entries are the caller's.
  static constexpr PositionNumber renamed_position = 1;
  void rename_batches(Origin before, Hlc fork, PositionNumber reached, Origin after,
                      const std::function<Hlc(Hlc)>& moved);

  void for_each(TableId table, const std::function<void(Entry&)>& visit);
  std::size_t size() const { return size_; }
  bool unsettled() const { return !batches_.empty(); }
  Hlc newest() const { return unsettled() ? newest_ : 0; }  // nothing in it is newer; pruning does not lower it
  Batch* newest_batch() { return batches_.empty() ? nullptr : &batches_.back(); }
  std::list<Batch>& batches() { return batches_; }
  std::function<void(Entry&)> on_side_change;  // lives of an entry were forgotten that the side table still has
  std::function<void(Entry&)> on_erase;        // whoever keeps pointers to entries must let go of this one
  std::function<void(Entry&)> on_begin_lost;   // a batch that made one of several lives is forgotten, the entry is not

 private:
  void index(Batch& added);
  void settle(Entry& entry, Hlc horizon);
  void erase(Entry& entry);

  std::map<TableId, EntryTable> tables_;
  Hlc late_until_ = 0;        // the newest of a late batch
  std::list<Batch> batches_;  // in the order of this node's history
  // The batches of an origin, by ascending position.
  struct Ended {
    PositionNumber end;
    Batch* batch;
    std::uint64_t changes_before;  // in all batches before it
  };
  struct OfOrigin {
    std::deque<Ended> batches;
    std::uint64_t changes = 0;
  };
  std::map<Origin, OfOrigin> by_origin_;
  using EndedAt = std::deque<Ended>::const_iterator;
  std::pair<EndedAt, EndedAt> after(Origin origin, PositionNumber from) const;
  std::size_t size_ = 0;
  Hlc newest_ = 0;
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
