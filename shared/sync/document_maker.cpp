#include "shared/sync/document_maker.hpp"

#include <algorithm>

#include "shared/merge/fold.hpp"
#include "shared/model/limits.hpp"

namespace rowmesh {

DocumentHeader make_header(const Core& core) {
  DocumentHeader header;
  header.sender = core.state.self;
  header.node = core.identity.node;
  header.hlc = core.store.clock().now();
  header.prune_horizon = core.state.prune_horizon;
  if (core.state.settled_elsewhere > header.prune_horizon) header.settled = core.state.settled_elsewhere;
  header.awaited = core.awaited();
  // Not below what this node announced before it met its newest member: the receiver may have forgotten up to that.
  auto own = core.state.metas.find(core.state.self);
  // And not held down by an own transaction that is open: what it will have written is in nobody's place.
  // Nor below what is forgotten here: that may have been taken over with a copy, whose rows are of no earlier moment.
  Hlc announced = own == core.state.metas.end() ? 0 : own->second.horizon;
  header.horizon = std::max({core.state.horizon(~Hlc{0}), announced, core.state.prune_horizon});
  header.metas = core.state.metas;
  header.members = core.state.members;
  // Who hands nothing on speaks of itself alone: nobody shall wait to hear from a server whose changes never come.
  if (!core.state.partial.empty()) {
    auto other = [&](auto& one) { return one.first != core.state.self; };
    std::erase_if(header.metas, other);
    std::erase_if(header.members, other);
  }
  for (auto& [name, parked] : core.state.parked) {
    header.parked[name] = parked.covered;
    if (parked.given_up) header.given_up.insert(name);
  }
  for (auto& [id, version] : core.state.truncates)
    if (const Table* table = core.table(id)) header.truncates[table->wire_name] = version;
  return header;
}

namespace {

// A table as it travels: without the places of dropped columns.
class ShippedColumns {
 public:
  explicit ShippedColumns(const Table& table) : table_(table), whole_(!table.has_dropped()) {
    if (whole_) return;
    narrow_ = table;
    narrow_.columns.clear();
    narrow_.key.clear();
    for (std::size_t i = 0; i < table.columns.size(); i++) {
      if (table.columns[i].dropped()) continue;
      kept_.push_back(static_cast<ColumnIndex>(i));
      narrow_.columns.push_back(table.columns[i]);
    }
    for (ColumnIndex column : table.key)
      narrow_.key.push_back(static_cast<ColumnIndex>(std::find(kept_.begin(), kept_.end(), column) - kept_.begin()));
  }

  bool whole() const { return whole_; }
  std::uint32_t add_to(DocumentWriter& writer) const { return writer.add_table(whole_ ? table_ : narrow_); }
  Row row(RowView row) const {
    Row narrow;
    for (ColumnIndex column : kept_) narrow.push_back(row[column]);
    return narrow;
  }
  ColumnVersions versions(const ColumnVersions& versions) const {
    ColumnVersions narrow;
    narrow.base = versions.base;
    for (std::size_t i = 0; i < kept_.size(); i++) narrow.set(static_cast<ColumnIndex>(i), versions.of(kept_[i]));
    return narrow;
  }

 private:
  const Table& table_;
  bool whole_;
  Table narrow_;
  std::vector<ColumnIndex> kept_;
};

// A key from before the table's primary key was altered names no row any more.
bool names_a_row(const Table& table, KeyView key) {
  Row parts = decode_key(key);
  return parts.size() == table.key.size() && (!table.integer_key || parts[0].kind == ValueKind::integer);
}

// Writes the keys of one table in order; those that need no row from the table come between those that do.
class TableWriter {
 public:
  TableWriter(Core& core, DocumentWriter& writer, const Table& table, const WantedRows& whole)
      : core_(core),
        writer_(writer),
        table_(table),
        shipped_(table),
        number_(shipped_.add_to(writer)),
        whole_(whole),
        truncated_(core.state.truncated(table.id)) {}

  void write(std::vector<Entry*>::const_iterator begin, std::vector<Entry*>::const_iterator end) {
    std::vector<KeyView> keys;
    std::vector<Entry*> entries;
    std::size_t of_another_key = 0;
    for (auto entry = begin; entry != end; ++entry) {
      if (!names_a_row(table_, *(*entry)->key)) {
        of_another_key++;
      } else if ((*entry)->state.in_table()) {
        keys.push_back(*(*entry)->key);
        entries.push_back(*entry);
      } else {
        write_absent(**entry);
      }
    }
    if (of_another_key > 0) {
      core_.counters.uncaptured += of_another_key;
      if (core_.told_of_key.insert(table_.id).second)
        core_.log('e',
                  std::to_string(of_another_key) + " changes of table '" + table_.wire_name +
                      "' were made under another primary key and cannot be shipped: give the table this key on all "
                      "servers, then call repair for it");
    }
    std::size_t seen = 0;
    core_.store.read_rows(table_, keys, [&](std::size_t index, KeyView, RowView row) {
      write_present(*entries[index], row);
      seen++;
      return true;
    });
    // Rows that vanished without being captured (triggers switched off): nothing can be said of them.
    core_.counters.uncaptured += keys.size() - seen;
  }

  void write_present(const Entry& entry, RowView row) {
    const auto& lives = entry.state.lives;
    if (lives.size() != 1 || !plain(entry.state, truncated_)) {
      write_lives(entry, row);
      return;
    }
    const Life& life = lives[0];
    if (life.birth.settled() && !whole_.has(table_.wire_name, *entry.key)) {
      for (std::size_t i = 0; i < row.size(); i++) {
        if (row[i].text.size() <= limits::omitted_value_bytes ||
            !life.columns.of(static_cast<ColumnIndex>(i)).settled())
          continue;
        write_without_big(life, row);
        return;
      }
    }
    add_row(life, row);
  }

  void write_absent(const Entry& entry) {
    const auto& lives = entry.state.lives;
    if (lives.empty() || !names_a_row(table_, *entry.key)) return;
    if (lives.size() == 1 && !lives[0].moved && !lives[0].removed.settled())
      writer_.add_removed(number_, *entry.key, lives[0].birth, lives[0].removed);
    else
      write_lives(entry, {});
  }

 private:
  void write_without_big(const Life& life, RowView row) {
    Row small(row.begin(), row.end());
    for (std::size_t i = 0; i < small.size(); i++)
      if (small[i].text.size() > limits::omitted_value_bytes && life.columns.of(static_cast<ColumnIndex>(i)).settled())
        small[i] = Value::of_omitted();
    add_row(life, small);
  }

  void add_row(const Life& life, RowView row) {
    if (shipped_.whole())
      writer_.add_row(number_, life.birth, life.columns, row);
    else
      writer_.add_row(number_, life.birth, shipped_.versions(life.columns), shipped_.row(row));
  }

  void write_lives(const Entry& entry, RowView table_row) {
    std::vector<const Life*> lives;
    std::vector<Row> rows;
    for (const Life& life : entry.state.lives) {
      lives.push_back(&life);
      RowView here = life.in_table ? table_row : RowView();
      bool values = !life.dead(truncated_) && (life.side || !here.empty());
      rows.push_back(values ? life_values(table_, life, here) : Row());
    }
    std::vector<Life> shipped;
    if (!shipped_.whole()) {
      shipped.reserve(lives.size());
      for (std::size_t i = 0; i < lives.size(); i++) {
        if (!rows[i].empty()) rows[i] = shipped_.row(rows[i]);
        Life& life = shipped.emplace_back(*lives[i]);
        life.columns = shipped_.versions(life.columns);
        if (life.moved) life.moved->seen = shipped_.versions(life.moved->seen);
        lives[i] = &life;
      }
    }
    std::vector<RowView> views(rows.begin(), rows.end());
    writer_.add_lives(number_, *entry.key, lives, views);
  }

  Core& core_;
  DocumentWriter& writer_;
  const Table& table_;
  ShippedColumns shipped_;
  std::uint32_t number_;
  const WantedRows& whole_;
  Version truncated_;
};

}  // namespace

namespace {

// Each once.
void sort_by_key(std::vector<Entry*>& entries) {
  std::sort(entries.begin(), entries.end(), [](const Entry* left, const Entry* right) {
    return left->table != right->table ? left->table < right->table : *left->key < *right->key;
  });
  entries.erase(std::unique(entries.begin(), entries.end()), entries.end());
}

// What a server still lacks of tables that it had to leave out. How far that goes: where this node has left such a
// table out itself, not beyond what it has of it.
void add_behind(Core& core, const DocumentOrder& order, DocumentHeader& header, std::vector<Entry*>& entries) {
  std::size_t before = entries.size();
  for (auto& [name, covered] : order.behind) {
    const Table* table = core.table_by_wire_name(name);
    if (!table) continue;
    DocumentHeader::Span& span = header.behind[name];
    std::map<Origin, PositionNumber> from;
    auto parked = core.state.parked.find(name);
    for (auto& [origin, applied] : core.state.applied) {
      if (!core.state.hands_on(origin)) continue;
      auto at = covered.find(origin);
      Position begin = at == covered.end() ? Position{} : at->second, end = applied;
      if (parked != core.state.parked.end() && origin != core.state.self) {
        if (parked->second.given_up) continue;
        auto mine = parked->second.covered.find(origin);
        end = mine == parked->second.covered.end() ? Position{} : mine->second;
      }
      if (end.number <= begin.number) continue;
      span.from[origin] = begin;
      span.to[origin] = end;
      from[origin] = begin.number;
    }
    header.newest = std::max(header.newest, core.window.newest_after(from));
    for (Entry* entry : core.window.gather(from))
      if (entry->table == table->id) entries.push_back(entry);
  }
  if (entries.size() != before) sort_by_key(entries);
}

// Symptom: a row stood under two numbers at once, or under none, and what was written to it meanwhile under the one had
// to be carried to the other, or lost against it. Mechanism: somebody else's change of one of the two brought that one,
// and the other came only with what the mover shipped. Mend: a document brings both ends of a move.
void add_other_ends(Core& core, std::vector<Entry*>& entries) {
  if (core.moved_rows.empty()) return;
  std::size_t before = entries.size();
  std::set<Entry*> added;
  auto add = [&](TableId table, const Key& key) {
    Entry* entry = core.window.find(table, key);
    if (entry && added.insert(entry).second) entries.push_back(entry);
  };
  for (std::size_t i = 0; i < entries.size(); i++) {
    const Entry& entry = *entries[i];
    for (const Life& life : entry.state.lives)
      if (life.moved) add(entry.table, life.moved->to_key);
    if (auto moved = core.moved_rows.find({entry.table, Key(*entry.key)}); moved != core.moved_rows.end())
      for (const Key& key : moved->second) add(entry.table, key);
  }
  if (entries.size() != before) sort_by_key(entries);
}

// What the references in these rows mean, where another row has the number (Life::meant, Life::told).
void add_meanings(const Core& core, const std::vector<Entry*>& entries, const std::set<std::string>& left_out,
                  DocumentHeader& header) {
  std::size_t bytes = 0;
  for (const Entry* entry : entries) {
    const Table* table = core.table(entry->table);
    if (!table || table->references.empty() || left_out.contains(table->wire_name)) continue;
    auto add = [&](const Life& life, const Meant& meant) {
      const std::string& column = table->columns[meant.column].name;
      bytes += table->wire_name.size() + column.size() + 2 * entry->key->size() + 150;
      if (bytes > limits::meanings_bytes) return;
      header.meant.push_back({table->wire_name, Key(*entry->key), column, life.columns.of(meant.column), meant.number,
                              meant.birth, meant.since});
    };
    for (const Life& life : entry->state.lives) {
      if (life.dead(core.state.truncated(table->id))) continue;
      for (const Meant& meant : life.meant)
        if (meant.number != Meant::known_elsewhere && meant.holds(life.columns)) add(life, meant);
      for (const Told& told : life.told)
        if (told.holds(life.columns)) add(life, told);
    }
  }
}

}  // namespace

MadeDocument make_document(Core& core, const DocumentOrder& order) {
  DocumentHeader header = make_header(core);
  std::map<Origin, PositionNumber> from;
  for (auto& [origin, position] : order.from) {
    auto applied = core.state.applied.find(origin);
    if (applied == core.state.applied.end()) continue;
    header.from[origin] = order.begins && origin == core.state.self ? Position{} : position;
    header.to[origin] = applied->second;
    from[origin] = position.number;
  }
  header.partial = order.partial;
  // Of a table that it does not get it waits for nothing.
  for (const std::string& name : order.left_out) header.parked.erase(name), header.given_up.erase(name);
  header.newest = core.window.newest_after(from);
  std::vector<Entry*> entries = core.window.gather(from);
  add_behind(core, order, header, entries);
  add_other_ends(core, entries);
  add_meanings(core, entries, order.left_out, header);
  DocumentWriter writer(header, order.compress);
  MadeDocument made;
  // All tables before the first row, so that the receiver can lock them before it writes.
  struct Run {
    TableWriter writer;
    std::vector<Entry*>::const_iterator begin, end;
  };
  std::vector<Run> runs;
  for (auto begin = entries.cbegin(); begin != entries.cend();) {
    auto end = begin;
    while (end != entries.cend() && (*end)->table == (*begin)->table) ++end;
    const Table* table = core.table((*begin)->table);
    if (table && !order.left_out.contains(table->wire_name))
      runs.push_back({TableWriter(core, writer, *table, order.whole), begin, end});
    else if (table)
      made.withheld.insert(table->wire_name);
    begin = end;
  }
  for (auto& [name, span] : header.behind)
    ShippedColumns(*core.table_by_wire_name(name))
        .add_to(writer);  // also without rows: it shows whether the table fits
  for (Run& run : runs) run.writer.write(run.begin, run.end);
  made.rows = writer.rows();
  made.to = header.to;
  made.compressed = order.compress;
  made.body = writer.finish();
  return made;
}

MadeDocument make_copy_document(Core& core, const Table& table, KeyView after, const ServerOptions& options,
                                bool compress, Key* last) {
  DocumentHeader header = make_header(core);
  header.kind = DocumentKind::copy;
  header.to = core.state.applied;
  for (auto& [origin, number] : core.state.pruned) header.from[origin] = {number, 0};
  header.newest = core.window.newest();
  header.copy_table = table.wire_name;
  header.copy_total = core.store.estimate_rows(table);
  // Whether rows remain is known only at the end; the header says so by the piece being full.
  std::vector<std::pair<Key, OwnedRow>> rows;
  std::size_t bytes = 0;
  std::uint64_t most_rows = options.batch_rows ? options.batch_rows : limits::copy_rows;
  std::uint64_t most_bytes = options.batch_bytes ? options.batch_bytes : limits::copy_bytes;
  header.copy_more = false;
  core.store.scan_rows(table, after, [&](std::size_t, KeyView key, RowView row) {
    if (rows.size() >= most_rows || bytes >= most_bytes) {
      header.copy_more = true;
      return false;
    }
    for (const Value& value : row) bytes += value.text.size() + 8;
    rows.emplace_back(Key(key), OwnedRow(row));
    return true;
  });
  std::vector<Entry*> known;
  for (auto& [key, row] : rows)
    if (Entry* entry = core.window.find(table.id, key)) known.push_back(entry);
  add_meanings(core, known, {}, header);
  DocumentWriter writer(header, compress);
  WantedRows whole(true);
  TableWriter table_writer(core, writer, table, whole);
  for (auto& [key, row] : rows) {
    Entry* entry = core.window.find(table.id, key);
    if (entry && !entry->state.lives.empty()) {
      table_writer.write_present(*entry, row.view());
    } else {
      Entry plain;
      plain.key = &key;
      plain.state.lives.emplace_back();
      table_writer.write_present(plain, row.view());
    }
    *last = key;
  }
  // Rows that were removed while the earlier pieces travelled, and such as the receiver has from before the copy.
  if (!header.copy_more)
    core.window.for_each(table.id, [&](Entry& entry) {
      if (!entry.state.in_table()) table_writer.write_absent(entry);
    });
  MadeDocument made;
  made.rows = writer.rows();
  made.to = header.to;
  made.compressed = compress;
  made.body = writer.finish();
  return made;
}

}  // namespace rowmesh
