// Rows of the replicated tables: reading, finding, writing, and what is rare about them.
#include <algorithm>

#include "pg_ext/store.hpp"

#include "pg_ext/as_owner.hpp"
#include "pg_ext/guard.hpp"
#include "pg_ext/partitions.hpp"
#include "pg_ext/statement.hpp"
#include "pg_ext/subtransaction.hpp"
#include "pg_ext/table_access.hpp"

#include "pg_ext/pg_prelude.hpp"

extern "C" {
#include "access/transam.h"
#include "access/xact.h"
#include "miscadmin.h"
#include "utils/memutils.h"
}

namespace rowmesh {
namespace {

// The worker's search path holds pg_catalog only, so this is always schema.table, quoted where needed.
constexpr char quoted_name[] =
    "SELECT c.oid::pg_catalog.regclass::text FROM pg_catalog.pg_class c WHERE c.oid = $1::oid";

std::string quoted_column(const Table& table, ColumnIndex column) {
  std::string quoted = "\"";
  for (char byte : table.columns[column].name) quoted += byte == '"' ? std::string("\"\"") : std::string(1, byte);
  return quoted + "\"";
}

std::string quoted_table(const PgTable& table) {
  auto name = run_sql(quoted_name, {SqlArgument::of_number(table.relation)});
  if (name.empty()) throw Error(ErrorKind::transient, "table_gone", "table " + table.table.local_name + " was dropped");
  return *name[0][0];
}
}  // namespace

std::optional<Key> PgStore::canonical_key(const Table& table, RowView key_values, const std::vector<ColumnType>& types,
                                          std::string* reason) {
  PgTable& described = catalog_.get(table.id);
  if (described.table.integer_key && key_values.size() == 1 && key_values[0].kind == ValueKind::integer &&
      integer_fits(described, key_values[0].integer))
    return encode_key(key_values);
  std::optional<Key> key;
  in_transaction([&] {
    AsOwner owner(described.owner);
    std::size_t count = described.key.size();
    Value values[INDEX_MAX_KEYS];
    bool any_null = key_values.size() != count;
    DatabaseRefusal refusal;
    bool fits = !any_null && attempt(
                                 [&] {
                                   MemoryContext old = MemoryContextSwitchTo(memory_);
                                   for (std::size_t i = 0; i < count; i++) {
                                     TypeIo& io = described.key_io(i);
                                     bool is_null;
                                     ColumnType wire = i < types.size() ? types[i] : io.wire;
                                     Datum datum = value_to_datum(io, key_values[i], wire, &is_null);
                                     values[i] = datum_to_value(io, datum, is_null);
                                     any_null = any_null || is_null;
                                   }
                                   MemoryContextSwitchTo(old);
                                 },
                                 refusal);
    if (fits && !any_null) {
      std::string scratch[INDEX_MAX_KEYS];
      for (std::size_t i = 0; i < count; i++)
        values[i] = canonical_key_value(described.key_io(i), values[i], scratch[i]);
      key = encode_key(RowView(values, count));
    } else if (reason) {
      *reason = refusal.refused ? refusal.text : "a key column is null or missing";
    }
  });
  return key;
}

void PgStore::read_rows(const Table& table, std::span<const KeyView> keys, const RowVisitor& visit) {
  TableAccess* opened = access(table.id);
  AsOwner owner(opened->table->owner);
  with_snapshot([&](const ReadContext& context) {
    for_each_leaf(opened, context, keys,
                  [&](TableAccess* leaf, std::span<const KeyView> own, const LeafPlaces& places) {
                    bool more = true;
                    rowmesh::read_rows(leaf, context, own, [&](std::size_t at, KeyView key, RowView row) {
                      return more = visit(places.of(at), key, row);
                    });
                    return more;
                  });
  });
}

void PgStore::scan_rows(const Table& table, KeyView after, const RowVisitor& visit) {
  TableAccess* opened = access(table.id);
  AsOwner owner(opened->table->owner);
  with_snapshot([&](const ReadContext& context) {
    if (opened->table->partitioned)
      scan_partitions(opened, context, after, visit);
    else
      rowmesh::scan_rows(opened, context, after, visit);
  });
}

OwnedRow PgStore::as_stored(const Table& table, const std::vector<ColumnType>& types, RowView row) {
  PgTable& described = catalog_.get(table.id);
  std::vector<Value> values(row.begin(), row.end());
  DatabaseRefusal refusal;
  bool fits = attempt(
      [&] {
        MemoryContext old = MemoryContextSwitchTo(memory_);
        for (std::size_t i = 0; i < values.size(); i++) {
          if (described.columns[i].attribute == 0 || values[i].kind == ValueKind::omitted) continue;
          TypeIo& io = described.columns[i].io;
          bool is_null;
          Datum datum = value_to_datum(io, values[i], i < types.size() ? types[i] : io.wire, &is_null);
          values[i] = datum_to_value(io, datum, is_null);
        }
        MemoryContextSwitchTo(old);
      },
      refusal);
  return OwnedRow(fits ? RowView(values) : row);
}

std::optional<Key> PgStore::find_unique(const Table& table, std::size_t unique_index, RowView row) {
  TableAccess* opened = access(table.id);
  std::optional<Key> key;
  AsOwner owner(opened->table->owner);
  with_snapshot([&](const ReadContext& context) {
    // A unique index of a partitioned table has the columns that say which partition a row belongs to.
    TableAccess* place = opened->table->partitioned ? leaf_of_row(opened, context, row) : opened;
    if (place) key = rowmesh::find_unique(place, context, unique_index, row);
  });
  return key;
}

void PgStore::find_rows(const Table& table, std::span<const KeyView> keys, std::vector<FoundRow>& found) {
  TableAccess* opened = access(table.id);
  auto known = [this](TransactionId xid) { return log_.knows_writer(xid); };
  found.assign(keys.size(), {});
  AsOwner owner(opened->table->owner);
  with_snapshot([&](const ReadContext& context) {
    for_each_leaf(opened, context, keys,
                  [&](TableAccess* leaf, std::span<const KeyView> own, const LeafPlaces& places) {
                    std::vector<FoundRow> part;
                    rowmesh::find_rows(leaf, context, known, own, part);
                    for (std::size_t i = 0; i < part.size(); i++) found[places.of(i)] = part[i];
                    return true;
                  });
  });
}

void PgStore::write_rows(const Table& table, const std::vector<ColumnType>& types, std::span<const RowWrite> writes,
                         std::vector<WriteResult>& results) {
  if (state_ != State::write) throw store_not_open();
  TableAccess* opened = access(table.id);
  with_snapshot([&](const ReadContext& context) {
    AsOwner owner(opened->table->owner);
    auto note = [this](TransactionId xid) { log_.note_own_writer(xid); };
    if (opened->table->partitioned)
      write_partitions(opened, context, types, writes, results, note);
    else
      rowmesh::write_rows(opened, context, types, writes, results, note);
  });
  if (OidIsValid(opened->table->key_sequence)) move_sequence(*opened->table, writes, results);
}

namespace {

// The first number from `at_least` on that the sequence reaches from `start`: steps of the increment keep it in this
// node's share of the numbers (stagger).
std::int64_t in_steps(std::int64_t start, std::int64_t at_least, std::int64_t increment) {
  return at_least <= start ? start : start + (at_least - start + increment - 1) / increment * increment;
}

}  // namespace

// The next number that this database hands out must not be one that came from another.
void PgStore::move_sequence(PgTable& table, std::span<const RowWrite> writes, std::span<const WriteResult> results) {
  std::int64_t greatest = 0, number = 0;
  for (std::size_t i = 0; i < writes.size(); i++)
    if (writes[i].kind == WriteKind::insert && results[i].status == WriteResult::ok &&
        integer_of_key(writes[i].key, &number))
      greatest = std::max(greatest, number);
  if (greatest <= table.sequence_last || table.sequence_increment <= 0) return;
  auto rows = run_sql("SELECT coalesce(pg_catalog.pg_sequence_last_value($1::oid), 0)",
                      {SqlArgument::of_number(table.key_sequence)});
  std::int64_t last = rows.empty() ? 0 : std::stoll(*rows[0][0]);
  std::int64_t start = last != 0 ? last : table.sequence_start;
  if (greatest > last && greatest >= start && greatest <= table.sequence_maximum - table.sequence_increment) {
    last = in_steps(start, greatest, table.sequence_increment);
    run_sql("SELECT pg_catalog.setval($1::oid::regclass, $2)",
            {SqlArgument::of_number(table.key_sequence), SqlArgument::of_number(last)});
  }
  table.sequence_last = last;
}

std::vector<Key> PgStore::find_referencing(const Table& table, ColumnIndex column, std::int64_t number) {
  if (state_ != State::write) throw store_not_open();
  PgTable& described = catalog_.get(table.id);
  AsOwner owner(described.owner);  // turning a key into text may call a function of the table's owner
  std::string columns;
  std::vector<ColumnType> types;
  for (ColumnIndex key : table.key) {
    columns += (columns.empty() ? "" : ", ") + quoted_column(table, key) + "::text";
    types.push_back(table.columns[key].type);
  }
  std::vector<Key> keys;
  for (const SqlRow& row : run_made_sql("SELECT " + columns + " FROM " + quoted_table(described) + " WHERE " +
                                            quoted_column(table, column) + " OPERATOR(pg_catalog.=) $1",
                                        {SqlArgument::of_number(number)})) {
    Row values;
    for (std::size_t i = 0; i < types.size(); i++)
      values.push_back(types[i] == ColumnType::integer ? Value::of_integer(std::stoll(*row[i]))
                                                       : Value::of_text(*row[i]));
    if (auto key = canonical_key(table, values, types, nullptr)) keys.push_back(std::move(*key));
  }
  return keys;
}

std::int64_t PgStore::next_free_key(const Table& table) {
  if (state_ != State::write) throw store_not_open();
  PgTable& described = catalog_.get(table.id);
  auto rows = run_made_sql("SELECT coalesce(pg_catalog.max(" + quoted_column(table, table.key[0]) +
                           "), 0)::bigint FROM " + quoted_table(described));
  std::int64_t free = std::stoll(*rows[0][0]) + 1;
  if (described.key_sequence == InvalidOid) return free;
  // The sequence gives it away, so that no session gets it as well.
  auto given =
      run_sql("SELECT pg_catalog.nextval($1::oid::regclass)", {SqlArgument::of_number(described.key_sequence)});
  std::int64_t number = std::stoll(*given[0][0]);
  if (number >= free) return number;
  if (described.sequence_increment > 0) free = in_steps(number, free, described.sequence_increment);
  run_sql("SELECT pg_catalog.setval($1::oid::regclass, $2)",
          {SqlArgument::of_number(described.key_sequence), SqlArgument::of_number(free)});
  return free;
}

void PgStore::truncate(const Table& table) {
  if (state_ != State::write) throw store_not_open();
  PgTable& described = catalog_.get(table.id);
  forget_access(table.id);  // TRUNCATE refuses a table that this session has open
  auto name = run_sql(quoted_name, {SqlArgument::of_number(described.relation)});
  if (name.empty()) throw Error(ErrorKind::transient, "table_gone", "table " + table.local_name + " was dropped");
  // A table that others refer to cannot be truncated, whatever the session's role; without the references' triggers
  // deleting is the same.
  auto referenced =
      run_sql("SELECT 1 FROM pg_catalog.pg_constraint WHERE contype = 'f' AND confrelid = $1::oid LIMIT 1",
              {SqlArgument::of_number(described.relation)});
  AsOwner owner(described.owner);  // a trigger on TRUNCATE may be enabled for replicas
  run_made_sql((referenced.empty() ? "TRUNCATE " : "DELETE FROM ") + *name[0][0]);
  if (!referenced.empty()) log_.note_own_writer(GetCurrentTransactionIdIfAny());
}

std::uint64_t PgStore::estimate_rows(const Table& table) {
  PgTable& described = catalog_.get(table.id);
  std::uint64_t estimate = 0;
  in_transaction([&] {
    auto rows = run_sql("SELECT reltuples::bigint FROM pg_catalog.pg_class WHERE oid = $1::oid",
                        {SqlArgument::of_number(described.relation)});
    if (rows.empty()) return;
    std::int64_t tuples = std::stoll(*rows[0][0]);
    if (tuples <= 0) {
      auto name = run_sql(quoted_name, {SqlArgument::of_number(described.relation)});
      tuples = std::stoll(*run_made_sql("SELECT pg_catalog.count(*) FROM " + *name[0][0])[0][0]);
    }
    estimate = static_cast<std::uint64_t>(tuples);
  });
  return estimate;
}

}  // namespace rowmesh
