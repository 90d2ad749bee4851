#include "sqlite_ext/catalog.hpp"

#include <algorithm>
#include <cctype>

namespace rowmesh::sqlite {
namespace {

std::string lower(std::string_view text) {
  std::string result(text);
  for (char& letter : result) letter = static_cast<char>(std::tolower(static_cast<unsigned char>(letter)));
  return result;
}

void read_columns(sqlite3* db, TableInfo& info) {
  Statement query(db, "PRAGMA main.table_xinfo(" + quoted_name(info.name) + ")");
  std::vector<std::pair<int, std::size_t>> key;
  while (query.step()) {
    ColumnInfo column;
    column.name = query.string(1);
    column.declared = query.string(2);
    column.affinity = info.strict && lower(column.declared) == "any" ? Affinity::none : affinity_of(column.declared);
    column.not_null = query.integer(3) != 0;
    column.has_default = !query.is_null(4);
    column.key_part = static_cast<int>(query.integer(5));
    int hidden = static_cast<int>(query.integer(6));
    if (hidden == 1) continue;  // of virtual tables
    column.generated = hidden == 2 || hidden == 3;
    const char *type = nullptr, *collation = nullptr;
    if (sqlite3_table_column_metadata(db, "main", info.name.c_str(), column.name.c_str(), &type, &collation, nullptr,
                                      nullptr, nullptr) == SQLITE_OK &&
        collation)
      column.collation = collation;
    for (char& letter : column.collation) letter = static_cast<char>(std::toupper(static_cast<unsigned char>(letter)));
    if (column.key_part > 0) key.emplace_back(column.key_part, info.columns.size());
    info.columns.push_back(std::move(column));
  }
  std::sort(key.begin(), key.end());
  for (auto& [part, at] : key) info.key.push_back(at);
}

IndexInfo read_index(sqlite3* db, const std::string& name) {
  IndexInfo index;
  index.name = name;
  Statement columns(db, "PRAGMA main.index_xinfo(" + quoted_name(name) + ")");
  while (columns.step()) {
    if (columns.integer(5) == 0) continue;  // the row's own key at the end
    index.columns.push_back(columns.integer(1) < 0 ? "" : columns.string(2));
    index.collations.push_back(columns.string(4));
  }
  Statement sql(db, "SELECT sql FROM main.sqlite_master WHERE type='index' AND name=?1");
  sql.bind(1, name);
  if (sql.step()) index.sql = sql.string(0);
  return index;
}

void read_indexes(sqlite3* db, TableInfo& info) {
  bool has_primary_index = false;
  std::vector<IndexInfo> found;
  {
    Statement query(db, "PRAGMA main.index_list(" + quoted_name(info.name) + ")");
    while (query.step()) {
      if (query.integer(2) == 0) continue;
      IndexInfo index;
      index.name = query.string(1);
      index.primary = query.string(3) == "pk";
      index.partial = query.integer(4) != 0;
      has_primary_index = has_primary_index || index.primary;
      found.push_back(std::move(index));
    }
  }
  for (IndexInfo& listed : found) {
    if (listed.primary) continue;
    IndexInfo index = read_index(db, listed.name);
    index.partial = listed.partial;
    info.uniques.push_back(std::move(index));
  }
  // In creation order of the names' numbers: index_list gives the youngest first, and the core wants a stable order.
  std::sort(info.uniques.begin(), info.uniques.end(), [](auto& left, auto& right) { return left.name < right.name; });
  info.rowid_alias = info.key.size() == 1 && !has_primary_index && !info.without_rowid &&
                     lower(info.columns[info.key[0]].declared) == "integer";
}

bool is_virtual(sqlite3* db, const std::string& name) {
  Statement query(
      db,
      "SELECT 1 FROM main.sqlite_master WHERE type='table' AND name=?1 COLLATE NOCASE AND sql LIKE 'CREATE VIRTUAL%'");
  query.bind(1, name);
  return query.step();
}

// FTS and R-Tree keep their data in tables that accept triggers like any other.
bool is_shadow(sqlite3* db, const std::string& name) {
  Statement query(db, "SELECT type FROM pragma_table_list WHERE schema='main' AND name=?1 COLLATE NOCASE");
  query.bind(1, name);
  return query.step() && query.text(0) == "shadow";
}

bool null_in_key(sqlite3* db, const TableInfo& info) {
  if (info.rowid_alias || info.without_rowid) return false;
  std::string condition;
  for (std::size_t at : info.key) {
    if (info.columns[at].not_null) continue;
    condition += (condition.empty() ? "" : " OR ") + quoted_name(info.columns[at].name) + " IS NULL";
  }
  return !condition.empty() &&
         query_integer(db, "SELECT 1 FROM main." + quoted_name(info.name) + " WHERE " + condition + " LIMIT 1") == 1;
}

struct Numbered {
  std::string name;
  int number;
};

std::vector<Numbered> read_numbers(sqlite3* db, TableId id) {
  std::vector<Numbered> numbers;
  Statement query(db, "SELECT name, idx FROM main.rowmesh_column WHERE table_id=?1 ORDER BY idx");
  query.bind(1, static_cast<std::int64_t>(id));
  while (query.step()) numbers.push_back({query.string(0), static_cast<int>(query.integer(1))});
  return numbers;
}

Column core_column(const ColumnInfo& info) {
  Column column;
  column.name = info.name;
  column.type = column_type_of(info.declared);
  column.type_name = info.declared;
  column.not_null = info.not_null;
  column.has_default = info.has_default;
  return column;
}

// Each column at the index that is its number, so that a rebuilt table with its columns in another order, or without
// some of them, keeps the core's indexes.
void map_columns(sqlite3* db, Layout& layout) {
  std::vector<std::pair<int, std::size_t>> order;
  auto numbers = read_numbers(db, layout.table.id);
  for (std::size_t at = 0; at < layout.info.columns.size(); at++) {
    if (layout.info.columns[at].generated) continue;
    auto known = std::find_if(numbers.begin(), numbers.end(),
                              [&](auto& numbered) { return numbered.name == layout.info.columns[at].name; });
    order.emplace_back(known == numbers.end() ? 1 << 20 : known->number, at);
  }
  std::sort(order.begin(), order.end());
  auto place_dropped = [&](int upto) {
    while (static_cast<int>(layout.table.columns.size()) < upto) {
      layout.number.push_back(static_cast<int>(layout.table.columns.size()));
      layout.table.columns.emplace_back();
      layout.info_column.push_back(Layout::no_column);
    }
  };
  int numbered = numbers.empty() ? 0 : numbers.back().number + 1;
  for (auto& [number, at] : order) {
    place_dropped(std::min(number, numbered));
    layout.table.columns.push_back(core_column(layout.info.columns[at]));
    layout.info_column.push_back(at);
    layout.number.push_back(number == 1 << 20 ? -1 : number);
  }
  place_dropped(numbered);
}

ColumnIndex core_index(const Layout& layout, std::size_t info_column) {
  auto at = std::find(layout.info_column.begin(), layout.info_column.end(), info_column);
  return static_cast<ColumnIndex>(at - layout.info_column.begin());
}

void map_indexes(Layout& layout) {
  for (std::size_t at : layout.info.key) layout.table.key.push_back(core_index(layout, at));
  for (std::size_t i = 0; i < layout.info.uniques.size(); i++) {
    const IndexInfo& index = layout.info.uniques[i];
    UniqueIndex unique;
    unique.name = index.name;
    if (index.plain())
      for (const std::string& name : index.columns) {
        int column = layout.table.column_index(name);
        if (column >= 0) unique.columns.push_back(static_cast<ColumnIndex>(column));
      }
    if (unique.columns.size() != index.columns.size()) unique.columns.clear();  // over a generated column
    layout.table.uniques.push_back(std::move(unique));
    layout.unique_index.push_back(i);
  }
  layout.table.integer_key = layout.table.key.size() == 1 && is_integer_type(layout.key_column(0).declared);
}

// A table that was renamed took its triggers with it: they know its new name.
std::optional<TableInfo> describe_renamed(sqlite3* db, TableId id) {
  Statement query(db, "SELECT tbl_name FROM main.sqlite_master WHERE type='trigger' AND name=?1");
  std::string trigger = "rowmesh_" + std::to_string(id) + "_insert";
  query.bind(1, trigger);
  return query.step() ? describe_table(db, query.string(0)) : std::nullopt;
}

// Foreign keys of one column that name the integer key of a replicated table, and what add_reference says.
void read_references(sqlite3* db, Layout& layout, const std::vector<Layout>& all) {
  auto add = [&](const std::string& from, const std::string& to_table, const std::string& to_column, TableId to_id) {
    int column = layout.table.column_index(from);
    if (column < 0) return;
    for (const Layout& other : all) {
      bool named = to_id ? other.table.id == to_id : sqlite3_stricmp(other.info.name.c_str(), to_table.c_str()) == 0;
      if (!named || !other.table.integer_key) continue;
      if (!to_column.empty() && sqlite3_stricmp(other.key_column(0).name.c_str(), to_column.c_str()) != 0) continue;
      layout.table.references.push_back({static_cast<ColumnIndex>(column), other.table.id});
    }
  };
  Statement keys(db,
                 "SELECT min(\"from\"), min(\"table\"), min(coalesce(\"to\",'')) FROM pragma_foreign_key_list(?1) "
                 "GROUP BY id HAVING count(*)=1");
  keys.bind(1, layout.info.name);
  while (keys.step()) add(keys.string(0), keys.string(1), keys.string(2), 0);
  Statement more(db, "SELECT name, to_id FROM main.rowmesh_reference WHERE table_id=?1");
  more.bind(1, static_cast<std::int64_t>(layout.table.id));
  while (more.step()) add(more.string(0), "", "", static_cast<TableId>(more.integer(1)));
}

}  // namespace

bool IndexInfo::plain() const { return !partial && std::find(columns.begin(), columns.end(), "") == columns.end(); }

std::optional<TableInfo> describe_table(sqlite3* db, const std::string& name) {
  TableInfo info;
  {
    Statement query(db, "SELECT name, sql FROM main.sqlite_master WHERE type='table' AND name=?1 COLLATE NOCASE");
    query.bind(1, name);
    if (!query.step()) return std::nullopt;
    info.name = query.string(0);
    info.sql = query.string(1);
  }
  {
    Statement query(db, "SELECT wr, strict FROM pragma_table_list WHERE schema='main' AND name=?1");
    query.bind(1, info.name);
    if (query.step()) {
      info.without_rowid = query.integer(0) != 0;
      info.strict = query.integer(1) != 0;
    }
  }
  info.conflict_clause = lower(info.sql).find("conflict") != std::string::npos;
  read_columns(db, info);
  read_indexes(db, info);
  return info;
}

std::string why_not_replicable(sqlite3* db, const std::string& name) {
  std::string small = lower(name);
  if (small.starts_with("sqlite_")) return "table " + name + " belongs to SQLite itself and is not replicated";
  if (small.starts_with("rowmesh_")) return "table " + name + " belongs to rowmesh itself and is not replicated";
  if (query_integer(
          db, "SELECT 1 FROM main.sqlite_master WHERE type='view' AND name=" + quoted_text(name) + " COLLATE NOCASE"))
    return name + " is a view: add the tables that it reads";
  if (is_virtual(db, name))
    return "table " + name +
           " is a virtual table, which cannot have triggers: replicate the table that it indexes, and feed it by "
           "triggers";
  if (is_shadow(db, name))
    return "table " + name + " holds the data of a virtual table and is kept by it: do not replicate it";
  auto info = describe_table(db, name);
  if (!info)
    return "there is no table " + name +
           " in this file (tables of attached files and temporary tables cannot be replicated from here)";
  if (info->key.empty())
    return "table " + name +
           " has no declared primary key, and SQLite may renumber its rows: give it one, for instance id INTEGER "
           "PRIMARY KEY";
  for (std::size_t at : info->key) {
    const ColumnInfo& column = info->columns[at];
    if (!column.collation.empty() && column.collation != "BINARY" && column.collation != "NOCASE" &&
        column.collation != "RTRIM")
      return "the key column " + column.name + " of table " + name + " has the collation " + column.collation +
             ", which only the application knows: use BINARY, NOCASE or RTRIM";
    if (column.generated)
      return "the key column " + column.name + " of table " + name + " is generated: use an ordinary column as key";
  }
  if (null_in_key(db, *info))
    return "table " + name + " has rows with NULL in its primary key: give them a value, or delete them, and try again";
  return "";
}

int Layout::column_of_number(int wanted) const {
  auto at = std::find(number.begin(), number.end(), wanted);
  return at == number.end() ? -1 : static_cast<int>(at - number.begin());
}

bool Layout::has_new_columns() const { return std::find(number.begin(), number.end(), -1) != number.end(); }

std::vector<Layout> read_layouts(sqlite3* db) {
  struct Row {
    TableId id;
    std::string name, wire_name, merge, on_key_collision;
    bool suspended;
  };
  std::vector<Row> rows;
  {
    Statement query(
        db, "SELECT id, name, wire_name, merge, on_key_collision, suspended FROM main.rowmesh_table ORDER BY id");
    while (query.step())
      rows.push_back({static_cast<TableId>(query.integer(0)), query.string(1), query.string(2), query.string(3),
                      query.string(4), query.integer(5) != 0});
  }
  std::vector<Layout> layouts;
  for (const Row& row : rows) {
    auto info = describe_table(db, row.name);
    if (!info) info = describe_renamed(db, row.id);
    if (!info || info->key.empty()) continue;
    Layout layout;
    layout.info = std::move(*info);
    layout.suspended = row.suspended;
    layout.table.id = row.id;
    layout.table.wire_name = row.wire_name;
    layout.table.local_name = layout.info.name;
    layout.table.merge = row.merge == "row" ? MergePolicy::row : MergePolicy::column;
    layout.table.on_key_collision = row.on_key_collision == "merge"  ? KeyCollision::merge
                                    : row.on_key_collision == "hold" ? KeyCollision::hold
                                                                     : KeyCollision::renumber;
    map_columns(db, layout);
    map_indexes(layout);
    layouts.push_back(std::move(layout));
  }
  for (Layout& layout : layouts) read_references(db, layout, layouts);
  return layouts;
}

std::optional<Layout> read_layout(sqlite3* db, TableId id) {
  for (Layout& layout : read_layouts(db))
    if (layout.table.id == id) return std::move(layout);  // cppcheck-suppress returnStdMoveLocal
  return std::nullopt;
}

}  // namespace rowmesh::sqlite
