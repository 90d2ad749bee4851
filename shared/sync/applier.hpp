// Applies one document: one transaction, rows and progress together. A row that the database refuses goes to quarantine alone.
#pragma once
#include <functional>
#include <memory>
#include <set>
#include <vector>

#include "shared/model/arena.hpp"
#include "shared/sync/core.hpp"

namespace rowmesh {

// Why a document as a whole is not taken (docs/protocol.md, "Answers"). `error`: 'gap', 'stale', 'clock', 'schema', 'history', 'same_node',
// 'differs'.
struct Refusal {
  std::string error;
  std::string text;
};

// What a copy does with rows that are here already.
enum class CopyMode : std::uint8_t { none, fail, source, newer };

struct CopySession {
  CopyMode mode = CopyMode::fail;
  // This node was away for longer than changes are kept. What is settled here is old, so the source's rows take its place, silently.
  bool adopt = false;
  bool target_was_empty = true;  // of the table that is being copied; rows that came since it was added do not count
  // Mode 'fail' reads the table twice: first it only compares, so that two tables that turn out to differ are not mixed by halves.
  bool only_compare() const { return !adopt && mode == CopyMode::fail && !target_was_empty; }
  std::set<Key> seen;            // keys that the source has; kept only when the target had rows
  std::uint64_t rows = 0;
};

inline constexpr const char* hidden_reason =
    "a row with an older claim has a value that must be unique; this one comes back when the value is free";

class Applier {
 public:
  Applier(Core& core, std::shared_ptr<const Body> body, bool compressed) : core_(core), body_(std::move(body)), compressed_(compressed) {}

  // Without a document: for show_hidden().
  explicit Applier(Core& core) : core_(core), compressed_(false) {}

  // Checks that do not need a transaction. Throws Refusal; Error(protocol) if it is not a document. Returns false if everything in it is
  // applied already. `accept_unknown(origin)`: may an origin of which nothing was ever applied begin with this sender's position?
  bool check(const std::function<bool(Origin)>& accept_unknown);
  const DocumentHeader& header() const { return header_; }

  // Applies it and commits. `breathe` is called between slices. Throws Error, Refusal; then nothing has changed.
  void run(const std::function<void()>& breathe, CopySession* copy = nullptr);
  // Decides anew who may have the UNIQUE values that were given up here (Core::recheck_hidden). Throws Error; then nothing has changed.
  void show_hidden();
  std::uint64_t rows() const { return rows_; }
  std::uint64_t conflicts() const { return conflicts_; }

 private:
  struct Raced {};
  struct Mapping {
    const Table* table = nullptr;
    std::vector<int> to_local;       // wire column -> local column
    std::vector<ColumnType> types;   // on the wire, in local order
    std::vector<ColumnType> key_types;
    bool complete = false;           // every local column is on the wire
    bool integer_keys = false;
  };
  struct Item {
    Key key;
    std::vector<IncomingLife> lives;
    std::string unholdable;  // why the key has no place here
  };
  struct Write {
    Entry* entry;
    std::size_t item;
    OwnedRow owned;  // when the values are not the document's
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
    OwnedRow table_row;      // empty: the table does not hold it
    std::vector<ColumnType> types;
    Version claim;
    bool shown = true;
  };

  void once(const std::function<void()>& breathe);
  void map_tables(const std::vector<WireTable>& tables);
  void lock_tables();
  void apply_truncates();
  void remove_born_before(const Table& table, Version truncated);
  void add(const WireRow& row);
  IncomingLife incoming(const WireLife& wire, const Mapping& mapping);
  void flush_batch();
  void decide(std::size_t index, const FoundRow& found);
  bool decide_plainly(Item& item, Entry* entry, const FoundRow& found);
  void decide_generally(std::size_t index, Entry* entry, const FoundRow& found);
  void adopt_copied(std::size_t index, Entry* entry, const FoundRow& found, RowView table_row);
  void compare_copied(std::size_t index, Entry* entry, const FoundRow& found);
  void write(WriteKind kind, Entry& entry, std::size_t index, const FoundRow& found, RowView values, ColumnSet columns);
  void carry_out_writes();
  void quarantine(Entry& entry, RowView values, const ColumnSet& columns, const std::string& code, const std::string& reason,
                  const std::vector<ColumnType>& types);
  void list(const Table& table, KeyView key, const Loss& loss);
  void resolve_uniques();
  void resolve_uniques_of(const Table& table, std::vector<Deferred> deferred);
  std::vector<Candidate> candidates(const Table& table, std::vector<Deferred> deferred);
  Version claim(const Table& table, const Entry* entry, RowView row) const;
  void show(const Table& table, Candidate& candidate);
  void hide(const Table& table, Candidate& candidate);
  void finish();
  MergeContext context(const Table& table);
  const Mapping& mapping() const { return mappings_[current_]; }

  Core& core_;
  std::shared_ptr<const Body> body_;
  bool compressed_;
  DocumentHeader header_;
  CopySession* copy_ = nullptr;

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
  std::map<TableId, std::vector<Deferred>> deferred_;
  std::set<TableId> recheck_;
  Hlc newest_ = 0;
  int attempt_ = 0;
  std::uint64_t rows_ = 0, conflicts_ = 0;
  std::map<std::string, std::uint64_t> conflicts_by_type_;
};

}  // namespace rowmesh
