// What the parts of a node share: its store, its window, its state, and the step that both shipping and applying begin
// with, the cut.
#pragma once
#include <map>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "shared/merge/merge.hpp"
#include "shared/merge/window.hpp"
#include "shared/sync/node.hpp"
#include "shared/sync/node_state.hpp"

namespace rowmesh {

class PackedReader;

// Not by address: one seed of the simulator gives one run.
struct ByKey {
  bool operator()(const Entry* left, const Entry* right) const {
    return left->table != right->table ? left->table < right->table : *left->key < *right->key;
  }
};
using EntrySet = std::set<Entry*, ByKey>;
// Rows with references, and the newest version that the log had of them.
using LateReferences = std::map<Entry*, Hlc, ByKey>;

// From one incarnation to the next (core_identity.cpp).
struct Renewal {
  Origin before = 0, after = 0;
  Hlc fork = 0;                                 // versions of ours above it are in no other history of `before`
  bool before_goes_on = false;                  // a copy: somebody else is `before`
  PositionNumber reached = ~PositionNumber{0};  // nor are later positions of ours
  // The clock ran ahead and is right again: our versions above `floor` become floor + 1, floor + 2, ... in their order.
  // What was decided between them and others' stays decided: `floor` is above all that we have of others.
  bool corrected = false;
  Hlc floor = 0;
  std::vector<Hlc> ahead = {};  // these versions, ascending
  Hlc restart = 0;              // the clock goes on from here
  Hlc horizon = 0;              // G becomes this again
  Hlc forgotten = 0;            // G as it was: up to here nothing has a version any more
  // A copy that ran as `before`: who goes on as that needs a new incarnation, too. Until it has one this stands for it.
  Origin awaited = 0;
  // `after` is `before`: all its versions become floor + 1, floor + 2, ..., which is later than they were.
  bool rebased() const { return before == after; }
};

// A move is known, and the row that it made is not here yet: what we had written to the old one is carried over when it
// comes. Moves of one document have one version, so the births of the rows that they make do not tell these apart.
struct AwaitedMove {
  Key key;
  Version birth;
  OwnedRow values;  // as they were here; empty: not known any more
};
struct AwaitedRow {
  TableId table = 0;
  Key key;
  Version birth;
  auto operator<=>(const AwaitedRow&) const = default;
};
using AwaitedMoves = std::map<AwaitedRow, std::vector<AwaitedMove>>;
using MovedRows = std::map<std::pair<TableId, Key>, std::set<Key>>;  // by their new number: those that they had

struct Counters {
  std::uint64_t captured = 0, applied = 0, conflicts = 0, uncaptured = 0;
  RefusalCounts refused;
  std::map<std::string, std::uint64_t> conflicts_by_type;
};

class Core {
 public:
  explicit Core(const NodeServices& services) : services(services), store(services.store) {
    window.on_side_change = [this](Entry& entry) { mark_side(entry); };
    window.on_begin_lost = [this](Entry& entry) { keep_begin(entry); };
    window.on_erase = [this](Entry& entry) {
      crossed_.erase(&entry);
      dirty_sides_.erase(&entry);
      sides_.erase(&entry);
      unreconciled.erase(&entry);
      late_references.erase(&entry);
    };
  }

  void load_config();   // identity, tables; keeps what the window knows
  void load_history();  // state, window and side rows, once

  // In a read transaction: takes in what was committed here since. A new own position if there was anything, or if
  // forced. Returns whether there is a new one.
  bool cut(bool force);
  // cut() in a transaction of its own.
  bool cut_alone(bool force = false);
  void write_alone();  // what is pending, in a transaction of its own
  // Before the first document after a start goes out: a position whose record a crash may still lose would get its
  // number twice if the next start fell back to the same one.
  void secure_numbers();
  // Before anything goes out that was written here: that it does (NodeState::joined), and which servers were met, are
  // on disk then. Must be outside of a transaction.
  void note_joined();
  // Writes history records and side rows that wait for a write transaction, in one of their own.
  void flush();
  // In a write transaction: the same, with `more` behind them. Call written() once it is committed.
  void write_pending(std::vector<HistoryRecord> more, const NodeState& state);
  void written();
  std::int64_t more_written() const { return more_written_; }  // `more` of the last write_pending begins here
  bool pending() const { return !pending_.empty() || !dirty_sides_.empty() || !crossed_.empty(); }
  std::size_t unwritten() const { return pending_.size(); }  // records that wait for a write transaction

  // Throws Error; then nothing has changed. `request`: to be finished with it; 0: none.
  void renew(Renewal renewal, const Identity& becomes, std::int64_t request);
  // A node that was put back or copied comes back: what it wrote since becomes newer than all that anybody has
  // forgotten meanwhile, and newer than `floor`. Nobody has got anything of it yet.
  // `taken`: what others may have all the same, which stays as it is.
  void rebase(Hlc floor, Hlc taken = 0);
  // What such a version was called before, by whoever has it all the same; settled: nothing else.
  Version before_rebase(Version version) const;
  // Was this position given here? What a copy of this database ships under our origin hides what we ship, whatever it
  // is. Of an earlier run it may be, for all that is known here.
  bool gave(const Position& position) const;
  // Is it of an earlier run, or of somebody else?
  bool of_earlier_run(const Position& position) const;
  // Ours after which everything comes that is newer than this.
  PositionNumber before_what_is_newer(Hlc version);
  // An earlier incarnation of this database, which ended here.
  bool was_self(Origin origin) const {
    auto member = state.members.find(origin);
    return state.closed(origin) && member != state.members.end() && member->second.node == identity.node;
  }
  // A server has applied this of ours.
  void note_confirmed(const Vector& applied);
  // It has our versions up to this one, some of which were given after this history was found.
  void confirmed_since_found(Hlc newest) {
    state.confirmed = std::max(newest, last_shared());
    state.found.reset();
  }
  // The newest of our versions that other histories of this origin may have as well.
  Hlc last_shared() const {
    // A backup that was made before a confirmation was on disk has an earlier start's end of the history.
    Hlc unsure = state.found ? std::max(state.found->unread, newest_at_start) : 0;
    Hlc found = state.found ? std::max(state.found->newest, std::min(unsure, state.lost)) : 0;
    return std::max(state.confirmed, found);
  }
  // The watermarks of the others up to which everything is here; what was announced before, while a table's changes
  // wait.
  std::map<Origin, Hlc> received();
  Hlc newest_confirmed(const Vector& just_told, Hlc horizon);
  Hlc newest_own_up_to(Hlc most);
  Hlc newest_of_others(Hlc horizon);  // above what we have of them, settled or not
  // G without what was forgotten by a clock that was ahead, when nobody else had any of it.
  Hlc horizon_with_others();
  bool knows_own(Hlc version);  // was this version given here, by this history?
  // Positions of ours go on above this one.
  void number_from(PositionNumber number) { first_number_ = std::max(first_number_, number); }
  Hlc newest_at_start = 0;  // of our own versions in the history that was found
  Hlc copied_before = 0;    // NodeState::copied_up_to at the start

  const Table* table(TableId id) const;
  const Table* table_by_wire_name(const std::string& name) const;
  const std::map<TableId, Table>& tables() const { return tables_; }
  // In a transaction: the row as its snapshot shows it; empty if it is not there.
  OwnedRow row_of(const Table& table, KeyView key);

  void mark_side(Entry& entry) { dirty_sides_.insert(&entry); }  // its side row must be written, or removed
  // Rows hidden, held or quarantined, by table.
  const EntrySet& sides() const { return sides_; }
  const EntrySet& dirty_sides() const { return dirty_sides_; }  // of what is not committed yet
  void prune();
  void log(char level, const std::string& text) { services.log(level, text); }
  std::uint64_t now_ms() { return services.wall.now_ms(); }

  NodeServices services;
  Store& store;
  Identity identity;
  NodeState state;
  Window window;
  Counters counters;
  Hlc watermark = 0;  // W of the last cut: this node gives no version up to it any more, crash or not
  // Heartbeats go on until our watermark is there: the highest G that others spoke of (who hears of us by way of them
  // is stale there as long as we announce less), and the time at which a member was met that knows nothing of us yet.
  // We may have nothing else to say.
  Hlc owed_watermark = 0;
  // The newest version up to which somebody keeps something, as far as we were told. What everybody must confirm before
  // it is forgotten there may be settled here, or never have come; so heartbeats go on, and tell others of it.
  Hlc awaited_elsewhere = 0;
  // And while something is kept, others are waited for to have spoken since somebody had a server less.
  Hlc awaited() const {
    Hlc newest = std::max(window.newest(), awaited_elsewhere);
    if (window.unsettled()) newest = std::max(newest, state.fewer_since);
    for (auto& [table, until] : state.late_truncates) newest = std::max(newest, until);
    return newest > std::min(state.prune_horizon, state.confirmed_here()) ? newest : 0;
  }
  // A server to which we only ship confirms nothing in a stream of its own: what it lacks is kept by standing still
  // ourselves.
  Hlc horizon_limit = ~Hlc{0};
  std::uint64_t most_rows = 0;        // that the window may have while notes wait for a table (notes_wait)
  bool copies_waiting_table = false;  // one that was given up is being copied: from here on its changes are kept again
  bool takes_copy = false;            // of what it has already: until it is done, nothing more is confirmed
  bool hold_prune = true;             // a server of ours was never met: nobody knows yet what it lacks
  std::set<Origin> handed_on_again;   // closed origins of which all that is here was named in the log once more
  std::set<TableId> recheck_hidden;   // a value may have become free
  EntrySet unreconciled;    // after local changes the table may not show what the state says (Applier::reconcile)
  Hlc keys_changed_at = 0;  // when an apply last put another row under an integer key, in this node's clock
  AwaitedMoves awaited_moves;
  MovedRows moved_rows;  // as long as somebody may not have heard of it
  // Written here before that, and read from the log after it; or by one who is gone, whose place we take.
  LateReferences late_references;
  // The next Applier::reconcile asks what it means that was written to it by then.
  void look_once_more(Entry& entry, Hlc written) {
    Hlc& newest = late_references[&entry];
    newest = std::max(newest, written);
    unreconciled.insert(&entry);
  }
  std::uint64_t last_cut_ms = 0;
  std::uint64_t announced_ms = 0;  // when the newest position of ours was made, by the time of day
  std::set<TableId> told_of_key;   // of these it was said that changes under an earlier primary key are not shipped

 private:
  // Where the history that was found ends.
  struct Start {
    Origin origin = 0;
    Position position;
    OriginMeta meta;
  };
  Start start_;
  // What NodeState::hlc becomes with the next state that is written. It looks a little ahead, so that a watermark may
  // be announced without being written first; by the time of day, so that many starts do not add up.
  Hlc promise(Hlc clock) const;
  void for_each_version(const std::function<void(Version)>& visit);
  std::vector<Hlc> own_versions_above(Hlc floor);                     // each once, ascending
  static constexpr std::uint64_t renewal_part = 2;                    // first number of a history record
  void rename_window(const Renewal& renewal, std::int64_t sequence);  // of its record; 0: it is made now
  void take_renewal(PackedReader& in, std::int64_t sequence);
  void close_origin(NodeState& next, Renewal& renewal);
  void take_back_horizon(NodeState& next, const Renewal& renewal);
  Hlc newest_renamed(const Renewal& renewal);
  void note_rebased(const Renewal& renewal);
  std::map<TableId, Version> truncates_of_nothing_else(const NodeState& before) const;
  struct Rebased {
    Origin before = 0;             // the last incarnation
    Hlc floor = 0;                 // what is floor + 1, floor + 2, ... now
    std::vector<Hlc> called = {};  // was this, of that one
  };
  Rebased rebased_;
  void fold(const LogEntry& entry, Batch& batch);
  Hlc given_anew(Hlc given);
  std::map<Hlc, Hlc> given_anew_;  // by the version that the log has; of one cut
  Hlc newest_anew_ = 0;
  std::pair<Hlc, Hlc> late_versions_{1, 0};  // the next and the last of those that a rebase set aside, in this run
  void leave_meaning(const Table& table, RowState& state, const ColumnSet& changed, Version version);
  void fold_truncate(const Table& table, Version version);
  void list_unseen(const Table& table, const Entry& entry, const LogEntry& change, Version version);
  void refresh_side_values();
  void keep_late_references();
  void note_moves(TableId table, const Entry& entry);
  void forget_awaited();
  void keep_begin(Entry& entry);
  bool waits(TableId table) const;
  bool lacks_changes() const;
  bool notes_wait(const Batch& batch);
  bool waits_to_be_moved(TableId id, const Meant& meant);
  bool truncate_waits(const Batch& batch) const;
  void take_record(const HistoryRecord& record, Batch& open_batch, bool& open);
  SideRow side_row(const Entry& entry, std::int64_t as_of);

  std::map<TableId, Table> tables_;
  std::map<std::string, TableId> by_wire_name_;
  struct PendingRecord {
    HistoryRecord record;
    Batch* batch;
  };
  std::vector<PendingRecord> pending_;
  EntrySet dirty_sides_, sides_;
  EntrySet crossed_;  // what they have become must be in the history before it loses their begin
  std::vector<ConflictRow> pending_conflicts_;
  std::int64_t replaying_ = 0;  // the history record whose log entries are folded again
  bool cutting_ = false;        // not while the history is loaded: what was lost then is listed already
  std::map<Entry*, ColumnSet, ByKey> touched_sides_;   // during a cut: columns of side rows that changed here
  std::vector<std::pair<Entry*, bool>> stored_sides_;  // what write_pending did, until it is committed
  Batch settling_;                                     // rows of which it writes what they have become
  std::int64_t last_sequence_ = 0, last_written_ = 0;  // written: not committed yet
  std::int64_t first_written_ = 0, more_written_ = 0, settling_written_ = 0;
  // The history may lose its begin only after a state that has forgotten as much is on disk: a truncate that a restart
  // still knew would kill rows again of whose birth it does not know any more.
  void prune_history(std::int64_t at_least);
  std::int64_t prune_to_ = 0;  // 0: nothing to prune
  std::int64_t pruned_to_ = 0;
  Hlc prune_needs_ = 0, writing_horizon_ = 0, writing_promise_ = 0;
  PositionNumber first_number_ = 1;
  struct Given {
    std::uint64_t tag = 0;
    Hlc newest = 0;  // of our versions up to there
  };
  std::map<PositionNumber, Given> given_;             // this run's newest positions
  std::size_t forgotten_ = 0;                         // entries, since memory was last given back
  std::set<std::int64_t> met_on_disk_, writing_met_;  // NodeState::met_servers
  Hlc copied_on_disk_ = 0, writing_copied_ = 0;       // NodeState::copied_up_to
  bool loaded_ = false;
  bool numbers_secured_ = false;
  bool just_started_ = false;  // the log was not read since
};

// The data of an `applied` record: the positions it leads to and each key's state afterwards.
ConflictRow conflict_row(const Table& table, KeyView key, const Loss& loss, std::uint64_t now_ms);

// `applied_at`: this node's clock at the apply; 0 if it is none.
std::vector<HistoryRecord> applied_records(const Batch& batch, Hlc applied_at);

}  // namespace rowmesh
