#include "sqlite_ext/dangling.hpp"

#include <map>

#include "sqlite_ext/catalog.hpp"
#include "sqlite_ext/statement.hpp"

namespace rowmesh::sqlite {
namespace {

// One foreign key: `columns` of a table name `to_columns` of another.
struct ForeignKey {
  std::string to_table;
  std::vector<std::string> columns, to_columns;
};

std::vector<std::string> key_of(sqlite3* db, const std::string& table) {
  std::vector<std::string> columns;
  Statement query(db, "SELECT name FROM pragma_table_info(?1) WHERE pk > 0 ORDER BY pk");
  query.bind(1, table);
  while (query.step()) columns.push_back(query.string(0));
  return columns;
}

std::vector<ForeignKey> declared(sqlite3* db, const std::string& table) {
  std::map<std::int64_t, ForeignKey> keys;
  Statement query(db, "SELECT id, \"table\", \"from\", \"to\" FROM pragma_foreign_key_list(?1) ORDER BY id, seq");
  query.bind(1, table);
  while (query.step()) {
    ForeignKey& key = keys[query.integer(0)];
    key.to_table = query.string(1);
    key.columns.push_back(query.string(2));
    if (!query.is_null(3)) key.to_columns.push_back(query.string(3));
  }
  std::vector<ForeignKey> all;
  for (auto& [id, key] : keys) {
    if (key.to_columns.empty()) key.to_columns = key_of(db, key.to_table);
    // Of a table that is not there, or has another key, nothing can be said.
    if (key.to_columns.size() == key.columns.size()) all.push_back(std::move(key));
  }
  return all;
}

std::vector<ForeignKey> added(sqlite3* db, TableId table) {
  std::vector<ForeignKey> all;
  Statement query(db,
                  "SELECT r.name, t.name FROM main.rowmesh_reference r JOIN main.rowmesh_table t ON t.id=r.to_id "
                  "WHERE r.table_id=?1 ORDER BY r.name");
  query.bind(1, static_cast<std::int64_t>(table));
  while (query.step()) {
    ForeignKey key{query.string(1), {query.string(0)}, {}};
    key.to_columns = key_of(db, key.to_table);
    if (key.to_columns.size() == 1) all.push_back(std::move(key));
  }
  return all;
}

std::string joined(const std::vector<std::string>& names, const std::string& before, const std::string& after,
                   const char* between) {
  std::string text;
  for (const std::string& name : names) text += (text.empty() ? "" : between) + before + quoted_name(name) + after;
  return text;
}

void find(sqlite3* db, const Layout& layout, const ForeignKey& key, std::vector<Dangling>& found) {
  std::vector<std::string> own;
  for (std::size_t part = 0; part < layout.table.key.size(); part++) own.push_back(layout.key_column(part).name);
  std::string same, names;
  for (std::size_t i = 0; i < key.columns.size(); i++) {
    same += (i ? " AND p." : "p.") + quoted_name(key.to_columns[i]) + "=c." + quoted_name(key.columns[i]);
    names += (i ? ", " : "") + key.columns[i];
  }
  Statement query(db, "SELECT " + joined(own, "quote(c.", ")", "||', '||") + ", " +
                          joined(key.columns, "c.", "", "||', '||") + " FROM main." + quoted_name(layout.info.name) +
                          " c WHERE " + joined(key.columns, "c.", " IS NOT NULL", " AND ") +
                          " AND NOT EXISTS (SELECT 1 FROM main." + quoted_name(key.to_table) + " p WHERE " + same +
                          ") ORDER BY 1");
  while (query.step()) found.push_back({layout.info.name, query.string(0), names, query.string(1), key.to_table});
}

}  // namespace

std::vector<Dangling> dangling_references(sqlite3* db) {
  std::vector<Dangling> found;
  for (const Layout& layout : read_layouts(db)) {
    for (const ForeignKey& key : declared(db, layout.info.name)) find(db, layout, key, found);
    for (const ForeignKey& key : added(db, layout.table.id)) find(db, layout, key, found);
  }
  return found;
}

}  // namespace rowmesh::sqlite
