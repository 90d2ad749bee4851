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
  // Not below what this node announced before it met its newest member: the receiver may have forgotten up to that.
  auto own = core.state.metas.find(core.state.self);
  header.horizon = std::max(core.state.horizon(core.watermark), own == core.state.metas.end() ? 0 : own->second.horizon);
  header.metas = core.state.metas;
  header.members = core.state.members;
  for (auto& [id, version] : core.state.truncates)
    if (const Table* table = core.table(id)) header.truncates[table->wire_name] = version;
  return header;
}

namespace {

// Writes the keys of one table in order; those that need no row from the table come between those that do.
class TableWriter {
 public:
  TableWriter(Core& core, DocumentWriter& writer, const Table& table, bool whole)
      : core_(core), writer_(writer), table_(table), number_(writer.add_table(table)), whole_(whole), truncated_(core.state.truncated(table.id)) {}

  void write(std::vector<Entry*>::const_iterator begin, std::vector<Entry*>::const_iterator end) {
    std::vector<KeyView> keys;
    std::vector<Entry*> entries;
    for (auto entry = begin; entry != end; ++entry) {
      if ((*entry)->state.in_table()) {
        keys.push_back(*(*entry)->key);
        entries.push_back(*entry);
      } else {
        write_absent(**entry);
      }
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
    if (!whole_ && life.birth.settled()) {
      for (std::size_t i = 0; i < row.size(); i++) {
        if (row[i].text.size() <= limits::omitted_value_bytes || !life.columns.of(static_cast<ColumnIndex>(i)).settled()) continue;
        write_without_big(life, row);
        return;
      }
    }
    writer_.add_row(number_, life.birth, life.columns, row);
  }

  void write_absent(const Entry& entry) {
    const auto& lives = entry.state.lives;
    if (lives.empty()) return;
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
    writer_.add_row(number_, life.birth, life.columns, small);
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
    std::vector<RowView> views(rows.begin(), rows.end());
    writer_.add_lives(number_, *entry.key, lives, views);
  }

  Core& core_;
  DocumentWriter& writer_;
  const Table& table_;
  std::uint32_t number_;
  bool whole_;
  Version truncated_;
};

}  // namespace

MadeDocument make_document(Core& core, const DocumentOrder& order) {
  DocumentHeader header = make_header(core);
  std::map<Origin, PositionNumber> from;
  for (auto& [origin, position] : order.from) {
    auto applied = core.state.applied.find(origin);
    if (applied == core.state.applied.end()) continue;
    header.from[origin] = position;
    header.to[origin] = applied->second;
    from[origin] = position.number;
  }
  header.newest = core.window.newest_after(from);
  std::vector<Entry*> entries = core.window.gather(from);
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
  for (Run& run : runs) run.writer.write(run.begin, run.end);
  made.rows = writer.rows();
  made.to = header.to;
  made.compressed = order.compress;
  made.body = writer.finish();
  return made;
}

MadeDocument make_copy_document(Core& core, const Table& table, KeyView after, const ServerOptions& options, bool compress, Key* last) {
  DocumentHeader header = make_header(core);
  header.kind = DocumentKind::copy;
  header.to = core.state.applied;
  for (auto& [origin, number] : core.state.pruned) header.from[origin] = {number, 0};
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
  DocumentWriter writer(header, compress);
  TableWriter table_writer(core, writer, table, true);
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
