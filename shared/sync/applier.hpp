// Applies one document: one transaction, rows and progress together. A row that the database refuses goes to quarantine
// alone.
#pragma once
#include <functional>
#include <memory>
#include <set>
#include <vector>

#include "shared/model/arena.hpp"
#include "shared/sync/core.hpp"
#include "shared/sync/wanted_rows.hpp"

namespace rowmesh {

// Why a document as a whole is not taken (docs/protocol.md, "Answers"). `error`: 'gap', 'stale', 'clock', 'schema',
// 'history', 'same_node', 'differs', 'incomplete' (it must come again with these rows whole).
struct Refusal {
  std::string error;
  std::string text;
  WantedRows wanted = {};
};

// A document knows a change that this database made, and that is not here.
struct OtherHistory {
  Hlc newest = 0;
};

// What a copy does with rows that are here already.
// verify: only compare; repair: rows that differ for good become those of the source, as changes made here.
enum class CopyMode : std::uint8_t { none, fail, source, newer, verify, repair };

// What comparing a table found. Rows with a change on its way are no differences: they are looked at again.
struct Differences {
  std::uint64_t compared = 0, differ = 0, missing_here = 0, only_here = 0, on_their_way = 0;
  std::vector<ConflictRow> rows;  // the first of them, for people

  std::uint64_t all() const { return differ + missing_here + only_here; }
};

struct CopySession {
  CopyMode mode = CopyMode::fail;
  // This node was away for longer than changes are kept. What is settled here is old, so the source's rows take its
  // place, silently.
  bool adopt = false;
  // It comes back from one that it had met only in the life that it lost.
  bool met_in_lost_life = false;
  // With that: it may have run as another database, so what it wrote lately may be on some servers only, though all
  // count as having it. Where the source has something else, that is named to all once more.
  bool names_again = false;
  bool target_was_empty = true;  // of the table that is being copied; rows that came since it was added do not count
  // Where rows were here before, a table is read twice: first what has settled is compared, for 'fail' refuses to mix
  // two tables by halves, and the other modes decide about that alone. What is on its way merges, as it always does.
  bool compares_first() const { return !adopt && mode != CopyMode::none && !checks() && !target_was_empty; }
  std::set<Key> seen;  // keys that the source has; kept only when the target had rows
  std::uint64_t rows = 0;
  Differences found;  // verify, repair: of this reading

  bool checks() const { return mode == CopyMode::verify || mode == CopyMode::repair; }
};

inline constexpr const char* hidden_reason =
    "a row with an older claim has a value that must be unique; this one comes back when the value is free";

class Applier {
 public:
  Applier(Core& core, std::shared_ptr<const Body> body, bool compressed)
      : core_(core), body_(std::move(body)), compressed_(compressed) {}

  // Tables that are not exchanged with the sender are left out of what it brings.
  void take_only(const std::set<std::string>& tables) { only_ = &tables; }

  // Without a document: for reconcile().
  explicit Applier(Core& core) : core_(core), compressed_(false) {}

  // Checks that do not need a transaction. Throws Refusal; Error(protocol) if it is not a document. Returns false if
  // everything in it is applied already. `accept_unknown(origin)`: may an origin of which nothing was ever applied
  // begin with this sender's position?
  bool check(const std::function<bool(Origin)>& accept_unknown);
  const DocumentHeader& header() const { return header_; }

  // Applies it and commits. `breathe` is called between slices. Throws Error, Refusal; then nothing has changed.
  void run(const std::function<void()>& breathe, CopySession* copy = nullptr);
  // Makes the table show what the state says of these keys: after local changes (Core::unreconciled), and again for
  // those that were refused before. Also decides anew who may have the UNIQUE values that were given up here
  // (Core::recheck_hidden). `first` runs in the same transaction. Throws Error; then nothing has changed.
  void reconcile(const EntrySet& entries, const std::function<void()>& first = {});
  // In `first`: the row that is here becomes a new change of this node, or a delete, instead of what its quarantine
  // holds (model, H7).
  void discard(Entry& entry);
  // What lost in a conflict becomes a change of this node. `last` runs in the same transaction; `done`: what was
  // written, as a sentence. Throws Error, NotRestored; then nothing has changed.
  void restore(const struct LostRow& lost, const std::function<void(const std::string& done)>& last);
  // The end of a copy that this node adopts: of a table, the keys that the source does not have. `ended`: the source's
  // prune horizon when the copy began.
  void adopt_absence(const Table& table, const CopySession& copied, Version ended);
  std::uint64_t rows() const { return rows_; }
  std::uint64_t conflicts() const { return conflicts_; }

 private:
  struct Raced {};
  // A row that a local writer keeps changing is tried so often before the sender is told to come again.
  static constexpr int attempts = 8;
  struct Mapping {
    const Table* table = nullptr;   // null: it does not fit, its rows are left out
    std::vector<int> to_local;      // wire column -> local column
    std::vector<bool> on_wire;      // local column
    std::vector<ColumnType> types;  // on the wire, in local order
    std::vector<ColumnType> key_types;
    bool complete = false;  // every local column is on the wire
    bool integer_keys = false;
  };
  struct Item {
    Key key;
    Key sent_key;  // as the sender encodes it, where that is not `key`
    std::vector<IncomingLife> lives;
    std::string unholdable;  // why the key has no place here
    bool reconcile = false;  // nothing comes: only the table is to show what the state says
    bool own = false;        // this node's own change (applier_keys.cpp)
    bool saw_all = false;    // and it was made in view of what is here: nothing is lost by it unseen
  };
  struct Write {
    Entry* entry;
    std::size_t item;
    OwnedRow owned;                 // when the values are not the document's
    std::vector<ColumnType> types;  // of these; empty: the mapping's
    std::uint64_t refused_since_ms = 0;
  };
  struct Deferred {
    Entry* entry;
    OwnedRow desired;
    std::vector<ColumnType> types;
  };
  // A row that takes part in the decision who may have a UNIQUE value.
  struct Candidate {
    Entry* entry = nullptr;  // null: a settled row
    Key key;
    OwnedRow desired;
    OwnedRow table_row;  // empty: the table does not hold it
    std::vector<ColumnType> types;
    Version claim;
    bool refused = false;  // it goes on waiting: in quarantine, or since another row is under its key
    bool shown = true;
  };

  void attempt(const std::function<void()>& work);
  void once(const std::function<void()>& breathe);
  void begin_attempt();
  void look_for_unread_deletes(const Table& table);
  bool log_names(const Table& table, const std::set<KeyView>& keys);
  void note_late_origins();
  void note_late_tables();
  const std::map<Origin, Hlc>* late(const Table& table) const;  // null: none
  void note_own_change(const Table& table, Entry& entry);
  std::string plan_restore(const Table& table, const struct LostRow& lost);
  void require_parents(const Table& table, KeyView key, RowView values);
  void map_tables(const std::vector<WireTable>& tables);
  Mapping map_table(const WireTable& wire, std::string& misfit) const;
  void park(const std::string& name, const std::string& reason, bool fits);
  void park_what_the_sender_lacks();
  void catch_up();
  void note_partial();
  bool lacks_values(const RowState& state, const std::optional<OwnedRow>& desired) const;
  void lock_tables();
  void apply_truncates();
  void remove_born_before(const Table& table, Version truncated);
  void list_truncated(const Table& table, const Entry& entry, const Life& life, Version truncated);
  void add(const WireRow& row);
  IncomingLife incoming(const WireLife& wire, const Mapping& mapping);
  void flush_batch();
  void decide(std::size_t index, const FoundRow& found);
  bool decide_plainly(Item& item, Entry* entry, const FoundRow& found);
  void decide_generally(std::size_t index, Entry* entry, const FoundRow& found);
  void forget_vanished(const Table& table, Entry& entry);
  void forget_ended();
  void end_everywhere(const Table& table, Entry& entry, Version birth);
  bool name_again(const Table& table, const Entry& before, RowView row_before, const Item& item, RowState& state,
                  RowView row_after);
  void end_life(const Table& table, Entry& entry, Life& life, Version ended);
  bool recognise(const Table& table, RowState& state, const std::vector<IncomingLife>& incoming, RowView table_row);
  bool recognise(const Table& table, Life& life, const IncomingLife& there, RowView here);
  bool take_birth_of_lost_life(Life& life, const IncomingLife& there) const;
  void name_own_life(const Table& table, RowState& state, const std::vector<IncomingLife>& incoming) const;
  void compare_copied(std::size_t index, Entry* entry, const FoundRow& found);
  void check_copied(std::size_t index, Entry* entry, const FoundRow& found);
  OwnedRow comparable(const Table& table, RowView there, RowView here);
  void difference(const Item& item, const char* what, RowView here, RowView there, const ColumnSet& columns);
  void write(WriteKind kind, Entry& entry, std::size_t index, const FoundRow& found, RowView values, ColumnSet columns);
  void carry_out_writes();
  void write_rows_by_type();
  void written(const Write& write, const RowWrite& row);
  void keep_room_aside(const Entry& entry);
  void quarantine(Entry& entry, const RowWrite& row, const std::string& code, const std::string& reason,
                  const std::vector<ColumnType>& types, std::uint64_t since_ms);
  void remove_row(const Table& table, KeyView key, std::uint64_t handle);
  void revisit();
  const std::vector<ColumnType>& types_of(const Write& write) const {
    return write.types.empty() ? mapping().types : write.types;
  }
  void list(const Table& table, KeyView key, const Loss& loss);
  // `loss` says which columns; the values are those that this life has now.
  void list_lost_life(const Table& table, KeyView key, const Life& life, Loss loss);
  void resolve_uniques();
  void settle_all();
  // applier_keys.cpp
  struct Moved {
    TableId table;
    Key key;
    Version birth;
    OwnedRow values;  // as they were here
  };
  // What refers from a life that moves goes on referring to what it meant: see hand_on_meant.
  struct Moving {
    TableId table;
    Key from, to;
    Version from_birth, to_birth;
  };
  struct OwnItem {
    Item item;
    std::vector<ColumnType> types;
    OwnedRow values;
  };
  bool settle_keys();
  void note_moves(const Table& table, const Item& item, const Entry* before, const RowState& after, RowView table_row);
  void move_younger(const Table& table, Entry& entry);
  // applier_moved_twice.cpp
  void note_moved_twice(const Table& table, const Item& item, const Life* known, const Life& life);
  AwaitedRow end_of_moves(AwaitedRow row) const;
  void join_moved_twice();
  void follow(const Moved& moved);
  void carry(const Table& table, const Life& from, const Moved& moved, const Key& to, const Life& target);
  void list_buried(const Table& table, const Key& key, const Life& life, bool never_seen);
  bool mine(Origin origin) const;
  Version own_version();
  std::int64_t next_key(const Table& table);
  IncomingLife& own_life(const Table& table, const Key& key, Version birth);
  void own_values(const Table& table, const Key& key, OwnedRow values, std::vector<ColumnType> types);
  void carry_out_own();
  void leave_table(const Table& table, Entry& entry, const Life* next);
  // applier_references.cpp
  bool of_one_who_is_gone(Origin origin) const;
  const Life* life_seen(const RowState& state, Version written, bool stands) const;
  void find_late_references();
  // A row that is made anew under another key, while what it refers to waits under its new number.
  struct Awaiting {
    TableId table;
    Key key;
    ColumnIndex column;
    std::int64_t number;
    Version meant;
  };
  void note_references_of(Entry& entry, const Life& life);
  void note_left_by_others(const Table& table, const Item& item);
  void hear_meanings();
  void take_over_deletes(const Table& table, const Entry& entry);
  void write_once_more(const Table& child, const Reference& reference, Entry& entry, Life& from);
  void find_late_reference(const Table& child, const Reference& reference, const Table& parent, Entry& entry, Hlc read,
                           RowView table_row);
  void remember_meant(const Table& table, KeyView key, Version birth, Origin writer = 0);
  void follow_references(const Table& table, const Moved& moved, const Key& to, Version birth, bool shown);
  void mean(Entry& entry, Life& life, ColumnIndex column, std::int64_t number, Version birth);
  void tell(Entry& entry);
  std::vector<Entry*> shown_referring(const Table& child, ColumnIndex column, std::int64_t number);
  using LivesOfEntries = std::vector<std::pair<Entry*, Version>>;
  const LivesOfEntries& waiting_referring(const Table& child, ColumnIndex column, std::int64_t number);
  Key change_key(const Table& table, const Entry& entry, const Life& life, ColumnIndex column, const Value& number);
  bool is_moving(TableId table, const Key& key, Version birth) const;
  bool speaks_for(const Table& table, const Life& life, ColumnIndex column) const;
  bool may_give_way(const Table& table, ColumnIndex column, const Value& number, Version written) const;
  Version life_under(TableId table, const Value& number) const;
  void keep_meant(const Table& table, const Item& item, const Entry* before, RowState& after, RowView table_row);
  void hand_on_meant(const std::vector<Moving>& moving, Version version);
  void note_awaiting(const std::vector<Awaiting>& awaiting, Version version);
  // applier_unique.cpp
  void resolve_uniques_of(const Table& table, std::vector<Deferred> deferred);
  std::vector<Candidate> candidates(const Table& table, std::vector<Deferred> deferred);
  Version claim(const Table& table, const Entry* entry, RowView row) const;
  void keep_contested_claims();
  void add_contested(const Table& table, const Entry& waiting, EntrySet& contested);
  void vacate(const Table& table, Candidate& candidate);
  void show(const Table& table, Candidate& candidate);
  void hide(const Table& table, Candidate& candidate);
  void take_out(const Table& table, KeyView key);
  void give_way(const Table& table, Candidate& candidate);
  void finish();
  MergeContext context(const Table& table);
  bool sender_has(const Table& table, Version version) const;  // all that somebody else wrote up to it
  bool knows_what_ended(const Table& table) const;
  bool had_seen(const Table& table, Version winner, Version loser) const;
  const Mapping& mapping() const { return mappings_[current_]; }

  Core& core_;
  std::shared_ptr<const Body> body_;
  bool compressed_;
  DocumentHeader header_;
  CopySession* copy_ = nullptr;
  const std::set<std::string>* only_ = nullptr;  // null: all tables

  // of one attempt
  NodeState state_;  // as it will be after the commit
  std::vector<Mapping> mappings_;
  std::uint32_t current_ = 0;
  Arena arena_;
  std::vector<Item> items_;
  std::vector<KeyView> keys_;
  std::vector<FoundRow> found_;
  std::vector<RowWrite> row_writes_;
  std::vector<std::unique_ptr<ColumnSet>> column_sets_;
  std::vector<Write> writes_;
  std::vector<WriteResult> results_;
  std::vector<Entry*> touched_;
  WantedRows wanted_;
  std::set<std::string> misfits_;              // tables of this document that do not fit here
  std::map<std::string, ParkedTable> parked_;  // what this document says of them
  std::set<std::string> to_fit_;
  std::map<TableId, std::vector<Deferred>> deferred_;
  std::set<TableId> recheck_;
  EntrySet revisit_;  // not in the document, but what they show may have changed by it
  EntrySet reconciled_;
  Version ended_;        // what the source of a copy that is adopted says nothing of has ended so; settled: it is none
  Version own_version_;  // of all that a round of this transaction changes by itself
  std::map<std::pair<TableId, Key>, OwnItem> own_;
  AwaitedMoves awaited_;
  std::set<AwaitedRow> arrived_;
  MovedRows moved_rows_;
  std::vector<Moving> moving_;      // in this round
  std::vector<Awaiting> awaiting_;  // in this round
  // Of this round, as soon as it was asked for: by table and column, then by number.
  std::map<std::pair<TableId, ColumnIndex>, std::map<std::int64_t, LivesOfEntries>> waiting_referring_;
  std::vector<Moved> moved_;                                    // lives that were found moved in this transaction
  std::vector<std::pair<AwaitedRow, AwaitedRow>> moved_twice_;  // where two moves of one life go
  struct Left {
    TableId table;
    Key key;
    Version birth;
  };
  std::vector<Left> left_;                            // living lives whose row gave way to another one's
  std::map<std::pair<TableId, Key>, Key> sent_keys_;  // where the sender encodes a key of the document in another way
  LateReferences late_references_;                    // as Core::late_references, until they were looked at
  std::map<Origin, Hlc> late_;                        // MergeContext::late
  std::map<std::string, std::map<Origin, Hlc>>
      late_tables_;                // of these, what was late when their changes began to wait
  std::set<Origin> lost_origins_;  // earlier incarnations of ours that lost something
  bool keys_changed_ = false;      // under some number another row shows now
  std::map<TableId, std::int64_t> last_key_;
  std::size_t keys_settled_ = 0;  // of touched_
  Hlc newest_ = 0;
  Hlc newest_of_ours_ = 0;     // in the document
  bool behind_ = false;        // MergeContext::behind
  std::size_t put_aside_ = 0;  // rows that come into the side table with this transaction
  int attempt_ = 0;
  std::uint64_t rows_ = 0, conflicts_ = 0;
  std::map<std::string, std::uint64_t> conflicts_by_type_;
};

}  // namespace rowmesh
