// The text of the capture triggers. Every form in here has a trap behind it: see the comments, and README.md for the
// list.
#include <algorithm>

#include "sqlite_ext/capture.hpp"
#include "sqlite_ext/index_text.hpp"

namespace rowmesh::sqlite {
namespace {

constexpr int bits_a_part = 60;  // a mask with bit 63 would be negative

std::string trigger_name(const Layout& layout, const std::string& what) {
  return "rowmesh_" + std::to_string(layout.table.id) + "_" + what;
}

std::string tbl(const Layout& layout, int part) {
  return std::to_string(layout.table.id * 64 + static_cast<unsigned>(part));
}

// "k1,k2"
std::string log_columns(const Layout& layout) {
  std::string text = "tbl,mask,ts";
  for (std::size_t i = 1; i <= layout.table.key.size(); i++) text += ",k" + std::to_string(i);
  return text;
}

std::string key_list(const Layout& layout, const std::string& scope) {
  std::string text;
  for (std::size_t i = 0; i < layout.table.key.size(); i++)
    text += (i ? "," : "") + scope + "." + quoted_name(layout.key_column(i).name);
  return text;
}

// Plain INSERT only: an OR clause would be overridden by the clause of the application's statement.
std::string note(const Layout& layout, int part, const std::string& mask, const std::string& scope) {
  return "INSERT INTO rowmesh_log(" + log_columns(layout) + ") VALUES(" + tbl(layout, part) + "," + mask +
         ",julianday('now')," + key_list(layout, scope) + ");";
}

std::string create(const std::string& name, const std::string& when, const std::string& body) {
  return "CREATE TRIGGER " + quoted_name(name) + " " + when + " BEGIN " + body + " END";
}

// IS NOT alone takes 'a' and 'A' of a NOCASE column for equal, and 1 and 1.0 of a column without numeric affinity.
std::string changed(const ColumnInfo& column) {
  std::string now = "NEW." + quoted_name(column.name), before = "OLD." + quoted_name(column.name);
  if (column.affinity == Affinity::integer || column.affinity == Affinity::real)
    return "(" + now + " IS NOT " + before + ")";
  std::string text = "(" + now + " IS NOT " + before + " COLLATE BINARY";
  if (column.affinity != Affinity::text) text += " OR typeof(" + now + ")<>typeof(" + before + ")";
  return text + ")";
}

// A changed key is noted by the key trigger; what the engine holds for the same key may still have other bytes ('a',
// 'A').
bool in_mask(const ColumnInfo& column) {
  return column.key_part == 0 || (column.collation != "BINARY" && column.affinity != Affinity::integer);
}

// One entry per 60 columns: SQLite's integers have 64 bits, and an expression of a thousand terms is refused.
std::string update_body(const Layout& layout) {
  std::vector<std::string> masks(1);
  for (std::size_t i = 0; i < layout.table.columns.size(); i++) {
    int number = layout.number[i];
    if (number < 0 || layout.dropped(i) || !in_mask(layout.column(i))) continue;
    auto part = static_cast<std::size_t>(number / bits_a_part);
    if (masks.size() <= part) masks.resize(part + 1);
    std::string& mask = masks[part];
    if (!mask.empty()) mask += "|";
    // In brackets: SQLite gives << and | the same rank.
    int bit = number % bits_a_part;
    mask += bit ? "(" + changed(layout.column(i)) + "<<" + std::to_string(bit) + ")" : changed(layout.column(i));
  }
  std::string body;
  for (std::size_t part = 0; part < masks.size(); part++)
    if (part == 0 || !masks[part].empty())
      body += note(layout, static_cast<int>(part), masks[part].empty() ? "0" : masks[part], "NEW");
  return body;
}

std::string key_differs(const Layout& layout, const std::string& left, const std::string& right) {
  std::string text;
  for (std::size_t i = 0; i < layout.table.key.size(); i++) {
    std::string name = quoted_name(layout.key_column(i).name);
    text += (i ? " OR " : "") + left + "." + name + " IS NOT " + right + "." + name;
  }
  return text;
}

// WHERE of the rows that the new one may displace by this index. '' if its text is not understood.
std::string same_by_index(const Layout& layout, const IndexInfo& index) {
  std::string condition;
  auto add = [&](const std::string& term) { condition += (condition.empty() ? "" : " AND ") + term; };
  if (index.plain()) {
    for (std::size_t i = 0; i < index.columns.size(); i++)
      add("t." + quoted_name(index.columns[i]) + "=NEW." + quoted_name(index.columns[i]) + " COLLATE " +
          quoted_name(index.collations[i]));
    return condition;
  }
  // The expression is the index's own text; asked of the new row, it gets a scope in which the column names mean NEW's.
  auto text = parse_index(index.sql);
  if (!text || text->terms.size() != index.collations.size()) return "";
  std::string scope;
  for (const ColumnInfo& column : layout.info.columns)
    scope += (scope.empty() ? "" : ",") + ("NEW." + quoted_name(column.name)) + " AS " + quoted_name(column.name);
  std::string from = " FROM (SELECT " + scope + ")" + (text->condition.empty() ? "" : " WHERE " + text->condition);
  if (!text->condition.empty()) add("(" + text->condition + ")");
  for (std::size_t i = 0; i < text->terms.size(); i++)
    add("(" + text->terms[i] + ")=(SELECT (" + text->terms[i] + ")" + from + ") COLLATE " +
        quoted_name(index.collations[i]));
  return condition;
}

std::string displaced_note(const Layout& layout, const std::string& condition, bool update) {
  return "INSERT INTO rowmesh_log(" + log_columns(layout) + ") SELECT " + tbl(layout, 0) + ",-3,julianday('now')," +
         key_list(layout, "t") + " FROM " + quoted_name(layout.info.name) + " AS t WHERE " + condition + " AND (" +
         key_differs(layout, "t", update ? "OLD" : "NEW") + ");";
}

// REPLACE removes rows by a unique index without firing delete triggers. BEFORE it happens we can only guess who will
// go; whether it went is seen when the log is read.
void displaced_triggers(const Layout& layout, std::vector<Trigger>& triggers) {
  std::string inserts;
  for (std::size_t i = 0; i < layout.info.uniques.size(); i++) {
    const IndexInfo& index = layout.info.uniques[i];
    std::string condition = same_by_index(layout, index);
    if (condition.empty()) continue;
    inserts += displaced_note(layout, condition, false);
    std::string of;
    if (index.plain())
      for (const std::string& column : index.columns) of += (of.empty() ? " OF " : ",") + quoted_name(column);
    std::string name = trigger_name(layout, "displaced_" + std::to_string(i + 1));
    triggers.push_back({name, create(name, "BEFORE UPDATE" + of + " ON " + quoted_name(layout.info.name),
                                     displaced_note(layout, condition, true))});
  }
  if (inserts.empty()) return;
  std::string name = trigger_name(layout, "displaced");
  triggers.push_back({name, create(name, "BEFORE INSERT ON " + quoted_name(layout.info.name), inserts)});
}

// REPLACE over a row with the same key fires no delete trigger either. Whether it is one is seen when the log is read:
// the key's insert follows.
std::string replaces(const Layout& layout) {
  std::string same;
  for (std::size_t i = 0; i < layout.table.key.size(); i++) {
    std::string name = quoted_name(layout.key_column(i).name);
    same += (i ? " AND t." : "t.") + name + "=NEW." + name;
  }
  return "EXISTS(SELECT 1 FROM " + quoted_name(layout.info.name) + " AS t WHERE " + same + ")";
}

std::string key_columns(const Layout& layout) {
  std::string text;
  for (std::size_t i = 0; i < layout.table.key.size(); i++)
    text += (i ? "," : "") + quoted_name(layout.key_column(i).name);
  return text;
}

}  // namespace

std::vector<Trigger> capture_triggers(const Layout& layout) {
  std::vector<Trigger> triggers;
  if (layout.suspended) return triggers;
  std::string on = " ON " + quoted_name(layout.info.name);
  auto add = [&](const std::string& what, const std::string& when, const std::string& body) {
    std::string name = trigger_name(layout, what);
    triggers.push_back({name, create(name, when, body)});
  };
  displaced_triggers(layout, triggers);
  add("replaced", "BEFORE INSERT" + on + " WHEN " + replaces(layout), note(layout, 0, "-4", "NEW"));
  add("replaced_key",
      "BEFORE UPDATE OF " + key_columns(layout) + on + " WHEN (" + key_differs(layout, "NEW", "OLD") + ") AND " +
          replaces(layout),
      note(layout, 0, "-4", "NEW"));
  add("insert", "AFTER INSERT" + on, note(layout, 0, "-1", "NEW"));
  add("delete", "AFTER DELETE" + on, note(layout, 0, "-2", "OLD"));
  add("update", "AFTER UPDATE" + on, update_body(layout));
  // Not UPDATE OF the key: `SET rowid = 5` would not fire it. Last, so that it fires first.
  add("key", "AFTER UPDATE" + on + " WHEN " + key_differs(layout, "NEW", "OLD"),
      note(layout, 0, "-2", "OLD") + note(layout, 0, "-1", "NEW"));
  return triggers;
}

}  // namespace rowmesh::sqlite
